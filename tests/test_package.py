import pkgutil
import subprocess
import sys

import dkse_jax


def test_neither_tensorflow_nor_torch_is_ever_imported():
    modules = [m.name for m in pkgutil.walk_packages(dkse_jax.__path__, "dkse_jax.")]
    assert len(modules) > 20
    program = (
        "import importlib, sys, tensorflow_datasets, tensorboardX\n"
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
