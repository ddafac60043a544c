"""The benchmark cases: each is a name, an estimate of its seconds, and a function to rows.

A row is a JSON object with the names of the case and of the other backend. ours_ms and other_ms are
medians over rounds, ratio is the median of other / ours per round, between ratio_low and
ratio_high; gflop counts direct convolution. A row of another unit has ours, other_value and unit
instead. Without another backend a row has only ours.
"""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import IO, Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from benchmarks import input_pipeline, startup
from benchmarks.workers import (
    NARROW_TOLERANCE,
    TOLERANCE,
    Worker,
    ask_all,
    check_logits,
    interleave,
    ratios,
)
from configs import art5, base, dkse
from dkse_jax.config import to_json

Row = dict[str, Any]

TRAIN = (("best", 16), ("figure10", 8), ("resnet50", 8), ("vgg16", 8))  # network, batch
INFERENCE = (("best", 1), ("best", 32), ("figure10", 1), ("figure10", 32))
MEMORY = ("best", 16)
MEMORY_ROUNDS = 3
PUBLISHED = {"resnet50": 224, "vgg16": 224}  # torchvision's networks and their pixels
LARGEST_BATCH = 32
ROUND_SECONDS = 0.5  # of each backend in a round: several calls of short cases
JAX_SIDE = [sys.executable, "-m", "benchmarks.jax_side"]
# Backends that serve a network, and the packages that they need beside PyTorch.
SERVING = {
    "torch frozen": "torch",
    "onnxruntime": "onnxruntime",
    "openvino float32": "openvino",
    "openvino": "openvino",  # in the precision that it chooses
}
# JAX would take all of the accelerator's memory, and leave none to the other backend.
JAX_ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
# The settings of dkse_jax.runtime.reuse_memory, for processes that do not call it.
KEEPING = {"GLIBC_TUNABLES": f"glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={2**35}"}
MOST_SECONDS = 100.0  # of one case; longer ones get fewer rounds


@dataclasses.dataclass(frozen=True)
class Settings:
    """The flags; folder is temporary, for weights and logits, log for other output.

    published: whether the other backends have torchvision's networks. serving: those of SERVING
    that the interpreter of --torch-python has.
    """

    cases: tuple[str, ...]
    torch_python: str | None
    published: bool
    rounds: int
    data_root: str | None
    dtype: str
    folder: Path
    log: IO[str]
    serving: tuple[str, ...] = ()


class Case(NamedTuple):
    """One line of progress, and the function that measures its rows."""

    name: str
    seconds: float  # on two cores, roughly
    measure: Callable[[], list[Row]]


def plan(settings: Settings) -> list[Case]:
    """Returns the cases in their order."""
    cases: list[Case] = []
    if "train" in settings.cases:
        for network, batch in TRAIN:
            if settings.published or network not in PUBLISHED:
                cases.append(_comparison(settings, "train", network, batch, 110))
    if "inference" in settings.cases:
        for network, batch in INFERENCE:
            cases.append(_comparison(settings, "inference", network, batch, 45))
    if "memory" in settings.cases:
        name = f"peak memory, train step, {MEMORY[0]}, batch {MEMORY[1]}"
        cases.append(Case(name, 180, lambda: peak_memory(settings, name)))
    if "input" in settings.cases:
        cases.append(Case("input", 20, lambda: input_pipeline.measure(settings.folder)))
        if settings.data_root:
            root = settings.data_root
            cases.append(Case("waiting for data, art5", 60, lambda: waiting(settings, root)))
    if "startup" in settings.cases:
        cases.append(Case("start-up", 60, lambda: startup.measure(settings.folder)))
    return cases


def _comparison(settings: Settings, kind: str, network: str, batch: int, seconds: float) -> Case:
    what = {"train": "train step", "inference": "inference"}[kind]
    pixels = f" at {PUBLISHED[network]} px" if network in PUBLISHED else ""
    name = f"{what}, {network}{pixels}, batch {batch}"
    return Case(name, seconds, lambda: compare(settings, name, kind, network, batch))


def compare(settings: Settings, name: str, kind: str, network: str, batch: int) -> list[Row]:
    """Compares ours with each of the others, after checking that all logits are equal."""
    path, macs = weights(settings, network)
    with backends(settings, kind) as workers:
        ask_all(workers, "prepare", lambda w: task(settings, w.name, kind, network, batch, path))
        files = {worker: settings.folder / f"{worker.name}.npy" for worker in workers}
        ask_all(workers, "logits", lambda worker: {"path": str(files[worker])})
        ours, *others = (np.load(files[worker]) for worker in workers)
        differences = [
            check_logits(ours, logits, worker.name, tolerance(worker.name))
            for worker, logits in zip(workers[1:], others, strict=True)
        ]
        ask_all(workers, "run", lambda worker: {"seconds": 0, "least": 2})  # compiles, warms up
        times = interleave(workers, settings.rounds, ROUND_SECONDS, MOST_SECONDS)
    flop = 2 * macs * batch * (3 if kind == "train" else 1)
    return [
        {
            "case": name,
            "other": worker.name,
            "ours_ms": median(times[0]),
            "other_ms": median(other),
            "ratio": median(ratios(times[0], other)),
            "ratio_low": min(ratios(times[0], other)),
            "ratio_high": max(ratios(times[0], other)),
            "rounds": len(other),
            "gflop": flop / 1e9,
            "logits_difference": difference,
        }
        for worker, other, difference in zip(workers[1:], times[1:], differences, strict=True)
    ]


def peak_memory(settings: Settings, name: str) -> list[Row]:
    """Measures the peak memory of three train steps.

    Each backend has a new process in every round, since the reuse of a heap differs between
    processes, sometimes by the whole memory of a step.
    """
    network, batch = MEMORY
    path, _ = weights(settings, network)
    peaks: dict[str, list[float]] = {}
    for _ in range(min(settings.rounds, MEMORY_ROUNDS)):
        with backends(settings, "train") as workers:
            for worker in workers:
                arguments = task(settings, worker.name, "train", network, batch, path)
                worker.ask("prepare", **arguments)
                worker.ask("run", seconds=0, least=2)
                peak = worker.ask("peak", steps=3)["peak"] / 2**20
                peaks.setdefault(worker.name, []).append(peak)
    (_, ours), *others = peaks.items()
    return [
        {
            "case": name,
            "other": other,
            "unit": "MiB",
            "ours": median(ours),
            "other_value": median(theirs),
            "ratio": median(ratios(ours, theirs)),
            "ratio_low": min(ratios(ours, theirs)),
            "ratio_high": max(ratios(ours, theirs)),
            "rounds": len(ours),
        }
        for other, theirs in others
    ]


def waiting(settings: Settings, root: str) -> list[Row]:
    """Measures the share of a train step of configs/art5.py spent waiting for its batch."""
    config = art5.get_config()
    config.data.root = root
    with jax_worker(settings) as worker:
        share = worker.ask("waiting", config=to_json(config), steps=40)["share"]
    name = f"share of a train step waiting for data, art5, {config.data.image_size} px"
    return [{"case": name, "unit": "%", "ours": 100 * share}]


def roofline(settings: Settings) -> dict[str, Any]:
    """Measures the machine's limits; flops_per_s is the better of the two frameworks'."""
    with backends(settings, "train") as workers:
        ours, other = (worker.ask("roofline", dtype=settings.dtype) for worker in workers[:2])
    rates = {"ours_flops_per_s": ours["flops_per_s"], "other_flops_per_s": other["flops_per_s"]}
    return ours | rates | {"flops_per_s": max(rates.values())}


def task(
    settings: Settings, backend: str, kind: str, network: str, batch: int, weights: str
) -> dict[str, Any]:
    """Returns the arguments of a `prepare` request to a backend."""
    config = network_config(network)
    config.train.batch_size = batch
    config.model.dtype = settings.dtype
    if backend == "plain":
        config.model.ops = "plain"
    arguments: dict[str, Any] = {"kind": kind, "config": to_json(config), "weights": weights}
    if backend in ("ours", "plain"):
        return arguments | {"folded": backend == "ours"}
    if backend in SERVING:
        return arguments
    return arguments | {"compile": backend == "torch.compile"}


def tolerance(backend: str) -> float:
    """Returns how far a backend's logits may be from ours, relative to the largest one."""
    return NARROW_TOLERANCE if backend == "openvino" else TOLERANCE


@functools.cache
def weights(settings: Settings, network: str, images: int = LARGEST_BATCH) -> tuple[str, int]:
    """Returns the file of a network's weights and images, and its MACs for one image."""
    path = settings.folder / f"{network}.npz"
    config = network_config(network)
    config.train.batch_size = images
    with jax_worker(settings) as worker:
        answer = worker.ask("weights", config=to_json(config), path=str(path))
    return str(path), answer["macs"]


def network_config(network: str) -> ConfigDict:
    """Returns the config of a network of PUBLISHED or of a variant of configs/dkse.py."""
    if network not in PUBLISHED:
        return dkse.get_config(network)
    config = base.get_config()
    config.model.name = network
    config.data.image_size = PUBLISHED[network]
    return config


@contextlib.contextmanager
def backends(settings: Settings, kind: str) -> Iterator[list[Worker]]:
    """Yields fresh processes: ours first, then those that it is compared with."""
    commands: dict[str, tuple[list[str], dict[str, str]]] = {"ours": (JAX_SIDE, JAX_ENVIRONMENT)}
    if settings.torch_python:
        command = [settings.torch_python, "-m", "benchmarks.torch_side"]
        commands |= {"torch eager": (command, {}), "torch.compile": (command, {})}
        commands |= {"torch eager, memory kept": (command, KEEPING)}
        for name in settings.serving if kind == "inference" else ():
            side = [settings.torch_python, "-m", "benchmarks.serving_side", name]
            commands[name] = side, KEEPING if name == "torch frozen" else {}
    else:
        commands["plain"] = (JAX_SIDE, JAX_ENVIRONMENT)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Worker(name, command, settings.log, environment))
            for name, (command, environment) in commands.items()
        ]


def jax_worker(settings: Settings) -> Worker:
    """Starts a fresh process of ours."""
    return Worker("ours", JAX_SIDE, settings.log, JAX_ENVIRONMENT)
