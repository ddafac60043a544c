import contextlib
import io
import json
import platform
import sys
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from benchmarks import cases, jax_side
from benchmarks.cases import Case, Settings, plan, task
from benchmarks.run import left, run, torch_versions
from benchmarks.workers import check_logits
from dkse_jax.config import to_json
from dkse_jax.data.transform import Transform, normalise
from dkse_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("optimised")


def settings(**fields) -> Settings:
    defaults = {
        "cases": ("train", "inference", "input", "startup", "memory"),
        "torch_python": None,
        "published": True,
        "rounds": 3,
        "data_root": None,
        "dtype": "float32",
        "folder": Path(),
        "log": io.StringIO(),
    }
    return Settings(**(defaults | fields))


def test_the_plan():
    names = [case.name for case in plan(settings(cases=("train", "input"), data_root="art5"))]
    assert names == [
        "train step, best, batch 16",
        "train step, figure10, batch 8",
        "train step, resnet50 at 224 px, batch 8",
        "train step, vgg16 at 224 px, batch 8",
        "input",
        "waiting for data, art5",
    ]
    assert len(plan(settings())) == 11
    left_out = {case.name for case in plan(settings())} - {
        case.name for case in plan(settings(published=False))
    }
    assert left_out == set(names[2:4])


def test_the_backends_get_the_same_config_in_their_forms():
    asked = {
        backend: task(settings(dtype="bfloat16"), backend, "train", "figure10", 8, "w.npz")
        for backend in ("ours", "plain", "torch eager", "torch.compile")
    }
    configs = {backend: json.loads(arguments.pop("config")) for backend, arguments in asked.items()}
    assert configs["ours"]["model"]["positions"] == [6, 9, 12]
    assert configs["ours"]["model"]["dtype"] == "bfloat16"
    assert configs["ours"]["train"]["batch_size"] == 8
    assert configs["plain"]["model"].pop("ops") == "plain"
    for config in configs.values():
        config["model"].pop("ops", None)
        assert config == configs["ours"]
    forms = {backend: arguments.popitem() for backend, arguments in asked.items()}
    assert forms == {
        "ours": ("folded", True),
        "plain": ("folded", False),
        "torch eager": ("compile", False),
        "torch.compile": ("compile", True),
    }


def test_a_published_network_has_its_pixels_and_five_classes():
    asked = task(settings(), "torch eager", "train", "vgg16", 8, "w.npz")
    config = json.loads(asked["config"])
    assert (config["model"]["name"], config["data"]["image_size"]) == ("vgg16", 224)
    assert config["data"]["synthetic"]["kinds"] == 5
    assert config["train"]["batch_size"] == 8


@pytest.mark.parametrize("torchvision", ["0.29", None])
def test_published_networks_are_compared_where_there_is_torchvision(
    torchvision, tmp_path, monkeypatch, capsys
):
    (tmp_path / "torch.py").write_text("__version__ = '2.14'")
    if torchvision:
        (tmp_path / "torchvision.py").write_text(f"__version__ = '{torchvision}'")
    planned = []
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(cases, "plan", lambda settings: planned.append(settings) or [])
    monkeypatch.setattr(cases, "roofline", lambda settings: {"flops_per_s": 1.0})
    torch_python = sys.executable
    assert torch_versions(torch_python) == {
        "torch": f"2.14 (Python {platform.python_version()})"
    } | ({"torchvision": torchvision} if torchvision else {})
    run(
        ("train",),
        torch_python=torch_python,
        rounds=3,
        data_root=None,
        out=tmp_path,
        dtype="float32",
    )
    assert [settings.published for settings in planned] == [bool(torchvision)]
    sentence = f"{torch_python} has no torchvision: resnet50, vgg16 are left out\n"
    assert (sentence in capsys.readouterr().out) == (not torchvision)


def test_serving_backends_take_part_in_inference_alone(monkeypatch):
    started = []

    def worker(name, command, log, environment):
        started.append((name, command[2:]))
        return contextlib.nullcontext(name)

    monkeypatch.setattr(cases, "Worker", worker)
    found = settings(torch_python="python", serving=("torch frozen", "openvino"))
    eager = ["ours", "torch eager", "torch.compile", "torch eager, memory kept"]
    with cases.backends(found, "train") as names:
        assert names == eager
    with cases.backends(found, "inference") as names:
        assert names == [*eager, "torch frozen", "openvino"]
    assert started[-1] == ("openvino", ["benchmarks.serving_side", "openvino"])


def test_only_what_may_compute_in_bfloat16_may_differ_more():
    ours, other = np.ones((1, 2)), np.full((1, 2), 1.01)
    check_logits(ours, other, "openvino", cases.tolerance("openvino"))
    for exact in ("openvino float32", "onnxruntime", "torch frozen", "torch eager"):
        with pytest.raises(UserError, match="more than 1e-04"):
            check_logits(ours, other, exact, cases.tolerance(exact))


def test_the_time_left_follows_the_pace():
    planned = [Case("a", 10, list), Case("b", 20, list), Case("c", 30, list)]
    assert left(planned, 0, 0) == 60
    assert left(planned, 1, 5) == 25
    assert left(planned, 2, 60) == 60


class Backend:
    """A worker whose calls take as long as its name says."""

    def __init__(self, name, logits=1.0):
        self.name, self.logits, self.asked = name, logits, []
        self.arguments = {}

    def ask(self, do, **arguments):
        self.asked.append(do)
        self.arguments[do] = arguments
        if do == "logits":
            np.save(arguments["path"], np.full((2, 5), self.logits))
        return {
            "ms": [float(self.name[-1])],
            "peak": 2**20 * int(self.name[-1]) * (10 if self.asked.count("peak") == 2 else 1),
        }

    def send(self, do, **arguments):
        self.sent = do, arguments

    def answer(self):
        return self.ask(self.sent[0], **self.sent[1])


@pytest.fixture
def backends(monkeypatch):
    backends = [Backend("ours 2"), Backend("other 3"), Backend("other 5")]
    monkeypatch.setattr(cases, "backends", lambda settings, kind: contextlib.nullcontext(backends))
    monkeypatch.setattr(cases, "weights", lambda settings, variant: ("w.npz", 10**9))
    return backends


@pytest.mark.parametrize(("kind", "gflop"), [("train", 48), ("inference", 16)])
def test_a_comparison_makes_a_row_for_each_other(backends, tmp_path, kind, gflop):
    rows = cases.compare(settings(folder=tmp_path), "a step", kind, "best", 8)
    assert rows == [
        {
            "case": "a step",
            "other": f"other {other}",
            "ours_ms": 2.0,
            "other_ms": float(other),
            "ratio": other / 2,
            "ratio_low": other / 2,
            "ratio_high": other / 2,
            "rounds": 3,
            "gflop": gflop,
            "logits_difference": 0.0,
        }
        for other in (3, 5)
    ]
    assert backends[1].asked == ["prepare", "logits", "run", "run", "run", "run"]


def test_other_logits_stop_a_comparison_before_it_times_anything(backends, tmp_path):
    backends[2].logits = 1.001
    with pytest.raises(UserError, match="the logits of other 5 differ"):
        cases.compare(settings(folder=tmp_path), "a step", "train", "best", 8)
    assert backends[0].asked == ["prepare", "logits"]


def test_memory_is_compared_after_two_steps(backends):
    first, _ = cases.peak_memory(settings(), "memory")
    assert (first["ours"], first["other_value"], first["ratio"]) == (2, 3, 1.5)
    assert (first["ratio_low"], first["ratio_high"], first["rounds"]) == (1.5, 1.5, 3)
    assert backends[0].asked == ["prepare", "run", "peak"] * 3
    assert backends[0].arguments["run"] == {"seconds": 0, "least": 2}
    assert backends[0].arguments["peak"] == {"steps": 3}


def test_a_published_network_is_kept_by_its_published_names():
    config = cases.network_config("resnet50")
    config.model.name = "resnet18"  # smaller
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
    template = jax.eval_shape(
        jax_side.make_model(config, jax_side.one_device()).init, jax.random.key(0), image
    )
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), template)
    arrays = jax_side.to_arrays(config, variables)
    assert arrays["fc.weight"].shape == (5, 512)
    jax.tree.map(
        np.testing.assert_array_equal, jax_side.from_arrays(config, arrays), dict(variables)
    )


def test_our_side_has_the_logits_of_the_network(config, tmp_path, monkeypatch):
    config.train.batch_size = 4
    config.model.positions = ()  # compiles sooner
    path = str(tmp_path / "weights.npz")
    assert jax_side.save_weights(to_json(config), path)["macs"] == 208_424
    with np.load(path) as arrays:
        assert arrays["images"].shape == (4, 32, 32, 3)
        for name in ("params/depthwise_2/norm/scale", "batch_stats/depthwise_2/norm/var"):
            assert np.abs(arrays[name] - 1).max() > 0.1
        for name in ("params/depthwise_2/norm/bias", "batch_stats/depthwise_2/norm/mean"):
            assert np.abs(arrays[name]).max() > 0.01

        arrays = dict(arrays)

    images, _ = arrays.pop("images"), arrays.pop("labels")
    model = jax_side.make_model(config, jax_side.one_device()).clone(ops="plain")
    expected, _ = jax.jit(model.apply)(
        unflatten_dict(arrays, sep="/"), normalise(images, Transform(32))
    )
    assert expected.shape == (4, 3)
    train = jax_side.build("train", to_json(config), path, folded=False)
    train.call()
    train.call()
    check_logits(np.asarray(expected), train.logits(), "training")  # of the first weights
    folded = mock.Mock(wraps=jax_side.fold)
    monkeypatch.setattr(jax_side, "fold", folded)
    inference = jax_side.build("inference", to_json(config), path, folded=True)
    assert folded.call_count == 1
    inference.call()
    check_logits(np.asarray(expected), inference.logits(), "inference")
