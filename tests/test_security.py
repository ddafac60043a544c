"""What other people's files cannot do: run code, take the memory, pass for anything but names."""

import ast
import contextlib
import csv
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorstore
from PIL import Image

from dkse_jax import runtime, sharding
from dkse_jax.errors import UserError
from dkse_jax.evaluation import run as evaluation_run
from dkse_jax.text import plain_text
from dkse_jax.workdir import checkpoint
from tests.workdir.test_kept import KEPT, STEP, state

pytestmark = pytest.mark.usefixtures("short")

ROOT = Path(__file__).parents[1]
# scripts/pth_to_safetensors.py is the exception: it reads pickles, where PyTorch is installed.
PRODUCT = [
    *sorted((ROOT / "dkse_jax").rglob("*.py")),
    *sorted((ROOT / "configs").glob("*.py")),
    *(ROOT / name for name in ("train.py", "eval.py", "ablate.py")),
]
MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BUILTINS = {"eval", "exec", "__import__"}
LOADERS = {"torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "numpy.load"}


def unsafe(text: str) -> set[str]:
    """What in a program's text can run code from the data that it reads."""
    tree = ast.parse(text)
    real: dict[str, str] = {}  # what a name of the program stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            real |= {each.asname or each.name: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            real |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    harmless = {  # np.load(..., allow_pickle=False)
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) == "False"
    }
    found = set()
    for node in ast.walk(tree):
        name = ""
        if isinstance(node, ast.Name | ast.Attribute):
            head, _, rest = ast.unparse(node).partition(".")
            name = f"{real.get(head, head)}.{rest}".rstrip(".")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value if node.value in MODULES else ""
        bad = name.removeprefix("builtins.") in BUILTINS or set(name.split(".")) & MODULES
        if bad or (name in LOADERS and id(node) not in harmless):
            found.add(name)
    return found | {name for name in real.values() if set(name.split(".")) & MODULES}


def test_no_product_file_can_run_code_from_data():
    assert len(PRODUCT) > 60
    assert {str(path): found for path in PRODUCT if (found := unsafe(path.read_text()))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import pickle as p",
        "import dill.source",
        "from joblib import load",
        "def f():\n    import marshal",
        "importlib.import_module('shelve')",
        "pandas.compat.pickle.load(file)",
        "x = eval(text)",
        "import builtins\nbuiltins.exec(text)",
        "__import__(name)",
        "import torch as t\nt.load(path)",
        "from torch import load\nload(path)",
        "import yaml\nyaml.load(text)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "from numpy import load as read\nread(path, allow_pickle=allowed)",
    ],
)
def test_what_can_run_code_is_found(line):
    assert unsafe(line)


def test_what_cannot_run_code_is_not():
    assert not unsafe(
        "import json, re, jax, numpy as np\nnp.load(path, allow_pickle=False)\njson.load(file)\n"
        "image.load()\nre.compile(text)\njax.eval_shape(f)\nmodel.eval()\nevaluate = 'a pickle'"
    )


@pytest.fixture
def saved(tmp_path) -> Path:
    return Path(shutil.copytree(ROOT / "tests/workdir/kept" / KEPT[-1], tmp_path / "run"))


BIAS = state()[0]["params"]["logits"]["bias"]


def restore(workdir: Path):
    target = sharding.abstract(state(), runtime.default_mesh())
    return checkpoint.restore(workdir, STEP, *target)


def pass_the_digests(workdir: Path) -> None:
    root = workdir / "checkpoints"
    record = checkpoint.read_record(root, STEP)
    checkpoint.write_record(root, record | {"files": checkpoint.digests(root / str(STEP))})


class Planted:
    """A pickle of it makes a folder when it is read."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def plant_everywhere(workdir: Path, marker: Path) -> int:
    """Plants it under each name in turn and restores; returns how many times that was refused."""
    payload = pickle.dumps(Planted(marker))
    pickle.loads(payload)
    marker.rmdir()  # it works, where it is read
    files = [path for path in sorted((workdir / "checkpoints").rglob("*")) if path.is_file()]
    assert len(files) > 15
    refused = 0
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(payload)
        if path.name != f"{STEP}.json":
            pass_the_digests(workdir)
        try:
            restored = restore(workdir)
        except UserError:
            refused += 1
        else:  # a file that nobody reads
            np.testing.assert_array_equal(restored[0]["params"]["logits"]["bias"], BIAS)
        assert not marker.exists(), path
        path.write_bytes(whole)
        pass_the_digests(workdir)
    restore(workdir)
    return refused


def test_a_pickle_under_any_name_in_a_checkpoint_is_never_run(saved, tmp_path):
    # In a process of its own: of reads that fail, orbax leaves errors in threads of its own.
    program = (
        "from pathlib import Path; from tests.test_security import plant_everywhere\n"
        f"print(plant_everywhere(Path({str(saved)!r}), Path({str(tmp_path / 'ran')!r})))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 5


def test_a_huge_array_that_a_checkpoint_claims_is_refused_before_it_is_read(saved, monkeypatch):
    folder = saved / "checkpoints" / str(STEP) / "variables"
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{folder}/"}).result()
    header = json.loads(store.read("params.logits.bias/.zarray").result().value)
    assert header["shape"] == [5]
    huge = header | {"shape": [2**40], "chunks": [2**40]}
    store.write("params.logits.bias/.zarray", json.dumps(huge).encode()).result()
    pass_the_digests(saved)
    monkeypatch.setattr(checkpoint.ocp.Checkpointer, "restore", None)  # nothing is read
    with pytest.raises(
        UserError,
        match=r"has params/logits/bias of float32\(1099511627776,\), but this network has it of",
    ):
        restore(saved)


# One name for each class of the trained network: each holds several attacks.
CLASSES = ["<img src=x onerror=alert(1)>|", "=cmd\x1b]0;t\x07", "a\nb\u200f"]
FILES = ["+1\x1b[2J", "@a\nb", "<script>", "a;=cmd", "\u202egpj", "caf\udce9"]


@pytest.fixture(scope="module")
def judged(trained, tmp_path_factory) -> tuple[Path, Path, str]:
    """(run, where hostile code leaves a mark, what was printed): hostile names, judged."""
    tmp_path = tmp_path_factory.mktemp("hostile")
    marker = tmp_path / "ran"
    run = Path(shutil.copytree(trained, tmp_path / "run\x1b[2J\u200f"))
    inputs = json.loads((run / "inputs.json").read_text())
    (run / "inputs.json").write_text(json.dumps(inputs | {"class_names": CLASSES}))
    (run / "configs").mkdir()
    for name in ("config.py", "configs/__init__.py", "configs/base.py", "sitecustomize.py"):
        (run / name).write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    images = tmp_path / "images"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for class_name in CLASSES:
        (images / class_name).mkdir(parents=True)
        for name in FILES:
            with open(images / class_name / f"{name}.png", "wb") as file:
                Image.fromarray(pixels).save(file, "png")
    printed = io.StringIO()
    answers = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 18))
    heat = np.ones((8, 3, 3))
    with (
        contextlib.chdir(run),
        contextlib.redirect_stdout(printed),
        pytest.MonkeyPatch.context() as patch,
    ):
        # What the network would say matters to no name, and takes long to compile.
        patch.setattr(evaluation_run, "predict", lambda *args, **named: answers)
        patch.setattr(evaluation_run, "make_explain", lambda *args: lambda images, classes: heat)
        evaluation_run.evaluate(run, "all", images, gradcam=1, stage="dkse_6")
    return run, marker, printed.getvalue()


def report_of(run: Path) -> Path:
    (folder,) = run.glob("eval/images-*")
    return folder


def assert_plain(text: str) -> None:
    for line in text.split("\n"):
        assert line == plain_text(line)


def test_names_steer_no_terminal(judged):
    run, _, printed = judged
    assert_plain(printed)
    assert "cmd\ufffd]0;t\ufffd\n" in printed
    assert f"{plain_text(str(report_of(run)))}/confusion.png\n" in printed
    assert "\\udce9" not in printed


def test_names_are_no_formulas_and_add_no_rows(judged):
    folder = report_of(judged[0])
    for name, height in (("confusion.csv", 1 + 3), ("predictions.csv", 1 + 3 * 6)):
        text = (folder / name).read_bytes().decode("utf-8")
        assert_plain(text)
        rows = list(csv.reader(text.splitlines()))
        assert len(rows) == height
        for cell in (part for row in rows for each in row for part in each.split(";")):
            assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert json.loads((folder / "metrics.json").read_text())["n"] == 18
    assert list(json.loads((folder / "metrics.json").read_text())["per_class"]) == CLASSES


def test_names_in_json_are_escaped_and_in_pictures_painted(judged):
    run = judged[0]
    texts = [run / "inputs.json", run / "config.json", *report_of(run).glob("*.json")]
    for path in texts:
        assert_plain(path.read_bytes().decode("ascii"))
    pictures = list(report_of(run).rglob("*.png"))
    assert len(pictures) == 2 + 3
    for path in pictures:
        assert path.name == plain_text(path.name)
        assert not set(path.name) & set("<>|=;\n")
        with Image.open(path) as image:
            assert set(image.info) <= {"Software", "dpi"}


def test_code_in_a_workdir_is_not_run(judged):
    run, marker, _ = judged
    ended = subprocess.run(
        [sys.executable, ROOT / "eval.py", "--workdir=.", "--split=tets"],
        cwd=run,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == '--split is "tets"; did you mean "test"?\n'
    assert not marker.exists()


def test_a_workdir_keeps_no_environment_variables(judged):
    secret = os.environ["PLANTED_SECRET"].encode()  # set before the training, in tests/conftest.py
    files = [path for path in judged[0].rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if secret in path.read_bytes()] == []
