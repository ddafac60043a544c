"""The announcement of a run, with an estimate of its time."""

import functools
import shlex
import time
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax.console import duration, log
from dkse_jax.data.sources import Source
from dkse_jax.data.split_checks import cautions
from dkse_jax.distributed import processes
from dkse_jax.models.counts import count, parameter_shapes, totals
from dkse_jax.training.frozen import frozen_prefixes, trained
from dkse_jax.training.limits import odd_settings

# Assumed training FLOP/s, counted by direct convolution, as a fraction of measured matmul FLOP/s.
# Measured on two x86 cores: 0.7 at 299 pixels (BENCHMARKS.md), 0.5 with the block at 96 pixels and
# 0.25 without; not measured on accelerators.
ATTAINED_SHARE = 0.5


def announce(
    config: ConfigDict,
    model: nn.Module,
    splits: dict[str, Source],
    workdir: Path,
    mesh: Mesh,
    *,
    step: int,
    last_step: int,
) -> None:
    """Logs the workdir, devices, data, network and steps, with an estimate of the time.

    At the first start, also logs cautions about the data and the settings.
    """
    layers = count(model, config.data.image_size)
    parameters, macs = totals(layers)
    sizes = ", ".join(f"{name} {len(split)}" for name, split in splits.items())
    names = splits["train"].class_names
    device = mesh.devices.flat[0]
    log(f"workdir  {workdir}")
    several = "" if processes.alone() else f" in {processes.count()} processes"
    log(f"devices  {mesh.size} {device.platform} ({device.device_kind}){several}")
    log(f"data     {sizes}; {len(names)} classes: {', '.join(names)}")
    for line in splits["train"].remarks:
        log(f"listing  {line}")
    count_text, trained_layers = f"{parameters:,} trainable parameters", ""
    if prefixes := frozen_prefixes(config):
        number, trained_layers = trained(prefixes, parameter_shapes(model, config.data.image_size))
        count_text = f"{number:,} trainable parameters of {parameters:,}"
    log(
        f"network  {config.model.name}, {count_text},"
        f" {macs / 1e9:.3f} GMACs an image of {config.data.image_size} pixels"
    )
    if trained_layers:
        log(f"trained  {trained_layers}; the others are frozen")
    if not step:
        odd = odd_settings(config, model, len(splits["train"]), last_step)
        for line in (*cautions(splits), *odd):
            log(line)
    if step == last_step:
        log(f"training is complete at step {step}: {eval_command(workdir, splits)}")
        return
    seconds = guessed_seconds(macs, (last_step - step) * config.train.batch_size, mesh)
    begun = f"goes on after step {step} of" if step else "takes"
    log(
        f"training {begun} {last_step} steps of {config.train.batch_size} images:"
        f" about {duration(seconds)} here, by a short probe"
    )


def eval_command(workdir: Path, splits: dict[str, Source]) -> str:
    """Returns the command that evaluates a run, to be pasted into a shell."""
    split = "" if len(splits["test"]) else " --split=val"
    return f"dkse-eval --workdir={shlex.quote(str(workdir))}{split}"


def guessed_seconds(macs: int, images: int, mesh: Mesh) -> float:
    """Estimates the time to train on `images` images with a network of `macs` MACs an image."""
    return images * training_flops(macs) / (ATTAINED_SHARE * matmul_rate(mesh))


def training_flops(macs: int) -> int:
    """Returns the operations for one image: forward, and twice that for both gradients."""
    return 2 * 3 * macs


@functools.cache
def matmul_rate(mesh: Mesh) -> float:
    """Measures operations/s of a float32 matrix product on one device, times the devices."""
    n = 1024
    a = jax.device_put(jnp.ones((n, n), jnp.float32), mesh.local_devices[0])
    product = jax.jit(jnp.dot)
    product(a, a).block_until_ready()
    start = time.perf_counter()
    for _ in range(5):
        product(a, a).block_until_ready()
    return 5 * 2 * n**3 / (time.perf_counter() - start) * mesh.size
