"""Our backend: train step and inference as in the package, and the machine's limits.

python -m benchmarks.jax_side
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh
from ml_collections import ConfigDict

from benchmarks.serving import Task, product_rate, serve, timed
from dkse_jax import arithmetic, runtime, sharding
from dkse_jax.config import from_json
from dkse_jax.data.pipeline import training_batches
from dkse_jax.data.sources import load_splits
from dkse_jax.data.transform import Transform, normalise
from dkse_jax.models.counts import count, totals
from dkse_jax.models.fold import fold
from dkse_jax.models.importer import RULES, export_tensors, import_tensors
from dkse_jax.training.measure import with_waits
from dkse_jax.training.optimizer import make_optimizer, make_schedule
from dkse_jax.training.state import TrainState, create_state, initialise
from dkse_jax.training.steps import make_train_step

STEPS = 10_000  # of the schedule, so that timed steps are in the warm-up of the learning rate


def build(
    kind: str, config: str, weights: str, folded: bool, merge_stem: bool | None = None
) -> Task:
    """Builds the task of a kind, train or inference, on a batch of the config's size.

    merge_stem: of DKSENet, in training.
    """
    settings = from_json(config)
    with np.load(weights) as file:
        arrays = dict(file)
    batch = settings.train.batch_size
    images, labels = jax.device_put((arrays.pop("images")[:batch], arrays.pop("labels")[:batch]))
    variables = from_arrays(settings, arrays)
    if kind == "train":
        return train_task(settings, variables, images, labels, merge_stem)
    return inference_task(settings, variables, images, folded)


def inference_task(settings: ConfigDict, variables: Any, images: jax.Array, folded: bool) -> Task:
    """Builds the task of computing a batch's logits; folded: with the variables of `fold`."""
    timed = make_forward(settings, variables, images, folded)

    def call() -> None:
        timed(images).block_until_ready()

    def logits() -> np.ndarray:
        checked = timed
        if settings.model.dtype != "float32":
            checked = make_forward(in_float32(settings), variables, images, folded)
        return np.asarray(checked(images))

    return Task(call, logits, device_peak())


def make_forward(
    settings: ConfigDict, variables: Any, images: jax.Array, folded: bool
) -> Callable[[jax.Array], jax.Array]:
    """Compiles uint8 (B, S, S, 3) -> logits (B, K) in eval mode, for images of this shape."""
    model, transform = make_model(settings, one_device()), Transform.of(settings.data)
    if folded:
        variables = fold(model, variables, settings.data.image_size)
    variables = jax.device_put(variables)

    @partial(jax.jit, compiler_options=model.target.compiler_options)
    def forward(variables: Any, images: jax.Array) -> jax.Array:
        return model.apply(variables, normalise(images, transform), train=False)[0]

    program = forward.lower(variables, images).compile()
    runtime.return_free_memory()
    return lambda images: program(variables, images)


def train_task(
    settings: ConfigDict,
    variables: Any,
    images: jax.Array,
    labels: jax.Array,
    merge_stem: bool | None,
) -> Task:
    """Builds the task of one update by the package's train step."""
    mesh = one_device()
    model = make_model(settings, mesh)
    if merge_stem is not None:
        model = model.clone(merge_stem=merge_stem)
    schedule = make_schedule(settings.optimizer, STEPS)
    optimizer = make_optimizer(settings.optimizer, schedule)
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(variables["params"]),
    )
    state = jax.device_put(state, sharding.replicated(mesh))
    step: Any = make_train_step(
        model, optimizer, schedule, settings, Transform.of(settings.data), mesh
    )
    program = runtime.trimmed(step.lower(state, images, labels).compile(), mesh)
    runtime.return_free_memory()

    def call() -> None:
        nonlocal state
        state, _ = jax.block_until_ready(program(state, images, labels))

    def logits() -> np.ndarray:
        return np.asarray(make_forward(in_float32(settings), variables, images, False)(images))

    return Task(call, logits, device_peak())


def make_model(settings: ConfigDict, mesh: Mesh) -> nn.Module:
    """Builds the config's network on the mesh, for the classes of the embedded data set."""
    kinds = settings.data.synthetic.kinds
    return arithmetic.network(settings, kinds, mesh, arithmetic.choose(settings, mesh, None))


def one_device() -> Mesh:
    """Builds the mesh of one device, which benchmarks use."""
    return sharding.make_mesh(jax.devices()[:1])


def in_float32(settings: ConfigDict) -> ConfigDict:
    """Returns the config with dtype float32."""
    settings = ConfigDict(settings.to_dict())
    settings.model.dtype = "float32"
    return settings


def device_peak() -> Callable[[], int] | None:
    """Returns the function of `Task.device_peak`."""
    if jax.default_backend() == "cpu":
        return None
    return lambda: jax.devices()[0].memory_stats()["peak_bytes_in_use"]


def save_weights(config: str, path: str) -> dict[str, Any]:
    """Writes initial variables, and images and labels for the largest batch, from seed 0.

    Perturbs the norms, so that one that is left out or folded wrongly changes the logits. Returns
    the network's MACs for one image.
    """
    settings = from_json(config)
    size, classes = settings.data.image_size, settings.data.synthetic.kinds
    mesh = one_device()
    model = make_model(settings, mesh)
    state = initialise(lambda: create_state(model, optax.identity(), size, 0), mesh)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(np.array, state.variables())
    for key, leaf in flatten_dict(variables, sep="/").items():
        if key.endswith(("norm/scale", "norm/var")):
            leaf *= rng.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype)
        elif key.endswith(("norm/bias", "norm/mean")):
            leaf += 0.1 * rng.standard_normal(leaf.shape, leaf.dtype)
    batch = settings.train.batch_size
    images = rng.integers(0, 256, (batch, size, size, 3), np.uint8)
    labels = rng.integers(0, classes, batch, np.int32)
    np.savez(path, images=images, labels=labels, **to_arrays(settings, variables))
    return {"macs": totals(count(model, size))[1]}


def to_arrays(settings: ConfigDict, variables: Any) -> dict[str, Any]:
    """Flattens variables by path; those of a published network to torchvision's tensors."""
    if settings.model.name in RULES:
        return export_tensors(settings.model.name, variables)
    return flatten_dict(variables, sep="/")


def from_arrays(settings: ConfigDict, arrays: dict[str, np.ndarray]) -> Any:
    """Inverts `to_arrays`."""
    if settings.model.name in RULES:
        image = jax.ShapeDtypeStruct((1, *2 * [settings.data.image_size], 3), jnp.float32)
        template = jax.eval_shape(make_model(settings, one_device()).init, jax.random.key(0), image)
        return import_tensors(settings.model.name, arrays, template)
    return unflatten_dict(arrays, sep="/")


def roofline(dtype: str) -> dict[str, Any]:
    """Measures operations/s of a matrix product, and bytes/s of memory, read and written."""
    product = jax.jit(jnp.dot)
    array = jnp.zeros(64 * 2**20, jnp.float32)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)  # in place, since new memory is slow at first

    def pass_over() -> None:
        nonlocal array
        array = add(array).block_until_ready()

    return {
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "flops_per_s": product_rate(
            lambda n: jnp.ones((n, n), dtype), lambda a: product(a, a).block_until_ready()
        ),
        "bytes_per_s": 2 * array.nbytes / (min(timed(pass_over, 0, 6)) / 1000),
    }


def waiting(config: str, steps: int, skipped: int = 8) -> dict[str, Any]:
    """Measures the share of train steps spent waiting for batches.

    Skips the first steps, whose batches are read ahead while the step is compiled.
    """
    settings = from_json(config)
    examples = load_splits(settings.data, settings.seed)["train"]
    mesh, transform = one_device(), Transform.of(settings.data)
    chosen = arithmetic.choose(settings, mesh, None)
    model = arithmetic.network(settings, len(examples.class_names), mesh, chosen)
    schedule = make_schedule(settings.optimizer, STEPS)
    optimizer = make_optimizer(settings.optimizer, schedule)
    state = initialise(lambda: create_state(model, optimizer, transform.size, 0), mesh)
    step: Any = make_train_step(model, optimizer, schedule, settings, transform, mesh)
    metrics = None
    waits, ends = [], []
    batches = training_batches(examples, settings, first_step=1, last_step=skipped + steps)
    for batch, waited in with_waits(batches):
        state, following = step(state, batch["image"], batch["label"])
        if metrics:
            float(metrics["loss"])  # of the step before, as the training loop reads it
        metrics = following
        waits.append(waited)
        ends.append(time.monotonic())
    return {"share": sum(waits[skipped:]) / (ends[-1] - ends[skipped - 1])}


if __name__ == "__main__":
    runtime.reuse_memory()
    serve(build, weights=save_weights, roofline=roofline, waiting=waiting)
