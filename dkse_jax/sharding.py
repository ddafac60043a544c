"""The mesh of devices, and the rule of partitioning arrays over it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dkse_jax.errors import UserError
from dkse_jax.ops.forms import Target

DATA, FSDP = "data", "fsdp"  # the axes of the mesh
LEAST_SHARDED = 2**12  # elements; for smaller arrays, gathering costs more than memory gains


def check_batch_size(batch_size: int, accumulate: int, mesh: Mesh) -> None:
    """Raises UserError unless each of `accumulate` micro-batches divides evenly over the mesh."""
    devices, shares = mesh.size, mesh.size * accumulate
    if batch_size % shares:
        parts = f" in config.train.accumulate={accumulate} micro-batches" if accumulate > 1 else ""
        raise UserError(
            f"config.train.batch_size is {batch_size}, which {devices} devices cannot share evenly"
            f"{parts}; the nearest that they can is {max(round(batch_size / shares), 1) * shares}"
        )


def round_up_to_devices(batch_size: int, mesh: Mesh) -> int:
    """Returns the smallest multiple of the mesh's devices that is at least batch_size."""
    return -(-batch_size // mesh.size) * mesh.size


def make_mesh(devices: Sequence[jax.Device], *, fsdp: int = 1) -> Mesh:
    """Builds a (data, fsdp) mesh of the devices, with `fsdp` of them along the second axis.

    Batches are divided over both axes, the state over fsdp alone: see `partition`. The axes are
    Auto, since flax's Dropout and BatchNorm do not trace with Explicit ones. Raises UserError for
    an fsdp that does not divide the number of devices.
    """
    count = len(devices)
    if count % fsdp:
        divisors = [number for number in range(1, count + 1) if count % number == 0]
        raise UserError(
            f"config.devices.fsdp is {fsdp}, which does not divide the {count} devices; the nearest"
            f" that does is {min(divisors, key=lambda number: abs(number - fsdp))}"
        )
    return jax.make_mesh(
        (count // fsdp, fsdp), (DATA, FSDP), axis_types=(AxisType.Auto,) * 2, devices=devices
    )


def target_of(mesh: Mesh, *, bfloat16: bool = False) -> Target:
    """Returns the target of the ops on the mesh; bfloat16: see `Target`."""
    return Target(mesh.devices.flat[0].platform, mesh.size, bfloat16)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding by which every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Returns the sharding of batches: the axis is divided over all devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, (DATA, FSDP)))


def partition(shape: Sequence[int], fsdp: int) -> PartitionSpec:
    """Returns the partition of an array of the state over `fsdp` devices.

    An array of at least LEAST_SHARDED elements is divided along its largest axis that fsdp
    divides, the last one among equals; other arrays are replicated.
    """
    axes = [axis for axis, length in enumerate(shape) if length % fsdp == 0]
    if fsdp == 1 or not axes or math.prod(shape) < LEAST_SHARDED:
        return PartitionSpec()
    largest = max(axes, key=lambda axis: (shape[axis], axis))
    return PartitionSpec(*[None] * largest, FSDP)


def local_indices(mesh: Mesh, batch_size: int) -> np.ndarray:
    """Returns the indices in a batch, in order, of the examples of this process's devices."""
    parts = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    return np.unique(np.concatenate([np.arange(batch_size)[index] for index in parts.values()]))


def indices_of_processes(mesh: Mesh, batch_size: int) -> list[np.ndarray]:
    """Returns the `local_indices` of every process that has devices of the mesh."""
    parts: dict[int, set[int]] = {}
    indices: Mapping[Any, Any] = batch_sharding(mesh).devices_indices_map((batch_size,))
    for device, (index,) in indices.items():
        parts.setdefault(device.process_index, set()).update(range(batch_size)[index])
    return [np.array(sorted(parts[process])) for process in sorted(parts)]


def to_global_array(rows: np.ndarray, batch_size: int, mesh: Mesh) -> jax.Array:
    """Builds a batch on all devices, from this process's rows: those of `local_indices`."""
    shape = (batch_size, *rows.shape[1:])
    return jax.make_array_from_process_local_data(batch_sharding(mesh), rows, shape)


def shardings(tree, mesh: Mesh):
    """Returns the sharding of each leaf of a tree by the rule of `partition`."""
    fsdp = mesh.shape[FSDP]
    return jax.tree.map(lambda leaf: NamedSharding(mesh, partition(np.shape(leaf), fsdp)), tree)


def abstract(tree, mesh: Mesh):
    """Returns the shapes, dtypes and `shardings` of a tree, to lower for or to restore into."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=sharding),
        tree,
        shardings(tree, mesh),
    )
