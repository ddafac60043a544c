import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import dkse_jax

ROOT = Path(dkse_jax.__file__).parent


def test_neither_tensorflow_nor_torch_is_ever_imported():
    modules = [m.name for m in pkgutil.walk_packages(dkse_jax.__path__, "dkse_jax.")]
    assert len(modules) > 20
    program = (
        "import importlib, sys, tensorflow_datasets, tensorboardX\n"
        "sys.modules['configs'] = None  # the top-level folder, which no wheel has\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print([m for m in ('tensorflow', 'torch') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_flags_are_refused_without_importing_jax():
    program = (
        "import sys, runpy; sys.argv = ['train.py', '--config=configs/dkse.py:beast']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, 'jax' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "2 False"
    assert 'did you mean "best"' in result.stderr
    assert "Traceback" not in result.stderr


def test_the_package_is_quick_to_import_and_offers_its_public_names():
    program = (
        "import sys, dkse_jax; print('jax' in sys.modules, 'numpy' in sys.modules)\n"
        "print(*dir(dkse_jax)); print([getattr(dkse_jax, n) is not None for n in dkse_jax.__all__])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded, names, found = result.stdout.splitlines()
    assert loaded == "False False"
    assert {"create_model", "list_models", "load", "train", "evaluate"} <= set(names.split())
    assert set(eval(found)) == {True}
    assert dkse_jax.__version__.count(".") == 2


ASKS = {"devices", "device_count", "local_devices", "local_device_count", "default_backend"}
MAY_ASK = ("runtime.py", "cli/", "distributed/", "files.py")  # the last for the cache folder


def questions(text):
    """The questions that a module puts to the machine: jax.devices and the like, os.environ."""
    names = {"os": {"environ", "getenv", "environb"}, "jax": ASKS}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in names.get(node.value.id, ()):
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            yield from (alias.name for alias in node.names if alias.name in names[node.module])


def test_nothing_below_the_scripts_asks_the_machine():
    files = {path.relative_to(ROOT).as_posix(): path for path in ROOT.rglob("*.py")}
    found = {name: list(questions(path.read_text())) for name, path in files.items()}
    assert found["runtime.py"]
    assert not {
        name: asked for name, asked in found.items() if asked and not name.startswith(MAY_ASK)
    }
    planted = set(questions("from os import environ\njax.device_count() + jax.devices"))
    assert planted == {"environ", "jax.device_count", "jax.devices"}
