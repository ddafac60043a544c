"""One update of the weights, as a pure function that jit partitions over the devices."""

import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike
from ml_collections import ConfigDict

from dkse_jax import runtime
from dkse_jax.console import log
from dkse_jax.data.transform import Transform, normalise
from dkse_jax.models.separable import is_pointwise_kernel
from dkse_jax.sharding import batch_sharding, replicated, shardings
from dkse_jax.training.frozen import frozen_prefixes, standing_norms
from dkse_jax.training.optimizer import gradient_norm
from dkse_jax.training.state import TrainState

Metrics = dict[str, jax.Array]
Gradients = tuple[Any, Any, Metrics]  # to the weights; the new BatchNorm statistics; metrics
TrainStep = Callable[[TrainState, ArrayLike, ArrayLike], tuple[TrainState, Metrics]]


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    config: ConfigDict,
    transform: Transform,
    mesh: Mesh,
) -> TrainStep:
    """Builds the jitted (state, images uint8 (B, S, S, 3), labels (B,)) -> (state, metrics).

    The metrics are scalars: loss and accuracy of the batch, the update's learning_rate by
    `schedule`, which must be that of `optimizer`, and the gradient_norm before clipping.

    Donates the old state's buffers; the state is sharded by `sharding.shardings`. Each device
    gathers the weights once a step, and updates its part of them.

    BatchNorm's statistics are those of the whole batch over all devices: jit partitions one
    program, without axis names. With config.train.accumulate above 1 they are those of each
    micro-batch over all devices, and the running averages move at each: see `accumulated`.
    """
    whole, split = replicated(mesh), batch_sharding(mesh)
    frozen = frozen_prefixes(config)

    def gradients(params, batch_stats, images, labels, dropout_key) -> Gradients:
        def loss_fn(params):
            with standing_norms(frozen):
                (logits, _), updated = model.apply(
                    {"params": params, "batch_stats": batch_stats},
                    normalise(images, transform),
                    train=True,
                    mutable=["batch_stats"],
                    rngs={"dropout": dropout_key},
                )
            loss = cross_entropy(logits, labels, config.train.label_smoothing)
            penalty = config.optimizer.pointwise_l2 * pointwise_l2(params)
            return loss + penalty, (loss, logits, updated.get("batch_stats", {}))

        grads, (loss, logits, batch_stats) = jax.grad(loss_fn, has_aux=True)(params)
        accuracy = (logits.argmax(-1) == labels).mean()
        # Replicated first: XLA would otherwise partition their inputs too, and exchange the images.
        grads = jax.lax.with_sharding_constraint(grads, whole)
        grads = jax.lax.with_sharding_constraint(grads, shardings(grads, mesh))
        return grads, batch_stats, {"loss": loss, "accuracy": accuracy}

    def train_step(state: TrainState, images: jax.Array, labels: jax.Array):
        dropout_key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        params = jax.lax.with_sharding_constraint(state.params, whole)
        if config.train.accumulate == 1:
            found = gradients(params, state.batch_stats, images, labels, dropout_key)
        else:
            images, labels = (
                split_micro_batches(x, config.train.accumulate, mesh) for x in (images, labels)
            )
            found = accumulated(gradients, params, state.batch_stats, images, labels, dropout_key)
        grads, batch_stats, metrics = found
        metrics = metrics | {
            "learning_rate": schedule(state.step),
            # The optimiser's clipping has the same expression: XLA computes it once.
            "gradient_norm": gradient_norm(grads, frozen),
        }
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        new_state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        return jax.lax.with_sharding_constraint(new_state, shardings(new_state, mesh)), metrics

    # None: the state keeps its own sharding.
    return jax.jit(
        train_step,
        in_shardings=(None, split, split),
        out_shardings=(None, whole),
        donate_argnums=0,
        compiler_options=model.target.compiler_options,
    )


def compiled(train_step: Any, state: TrainState, config: ConfigDict, mesh: Mesh) -> TrainStep:
    """Compiles the train step for batches of the config's shape; logs the time."""
    size, batch_size = config.data.image_size, config.train.batch_size
    images = jax.ShapeDtypeStruct((batch_size, size, size, 3), np.uint8)
    labels = jax.ShapeDtypeStruct((batch_size,), np.int32)
    log("compiling the training step ...")
    start = time.monotonic()
    program = train_step.lower(state, images, labels).compile()
    runtime.return_free_memory()
    log(f"compiled in {time.monotonic() - start:.0f} s")
    return runtime.trimmed(program, mesh)


def split_micro_batches(x: jax.Array, parts: int, mesh: Mesh) -> jax.Array:
    """Splits (B, ...) -> (parts, B / parts, ...): micro-batch i has the examples i, i + parts, ...

    Every device splits its own examples, so that none moves to another.
    """
    micro_batches = x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)
    return jax.lax.with_sharding_constraint(micro_batches, batch_sharding(mesh, axis=1))


def accumulated(
    gradients: Callable[..., Gradients],
    params: Any,
    batch_stats: Any,
    images: jax.Array,
    labels: jax.Array,
    dropout_key: jax.Array,
) -> Gradients:
    """Averages the gradients and metrics of micro-batches (parts, B / parts, ...), sequentially.

    Without norms and dropout, these are the whole batch's. BatchNorm normalises each micro-batch
    by its own statistics, and its running averages move at each, as for a step of its own;
    dropout's key is folded with the micro-batch's index.
    """
    parts = len(images)

    def add(carry, micro_batch):
        sums, batch_stats = carry
        i, images, labels = micro_batch
        key = jax.random.fold_in(dropout_key, i)
        grads, batch_stats, metrics = gradients(params, batch_stats, images, labels, key)
        return (jax.tree.map(jnp.add, sums, grads), batch_stats), metrics

    start = jax.tree.map(jnp.zeros_like, params), batch_stats
    (sums, batch_stats), metrics = jax.lax.scan(add, start, (jnp.arange(parts), images, labels))
    grads = jax.tree.map(lambda leaf: leaf / parts, sums)
    return grads, batch_stats, jax.tree.map(jnp.mean, metrics)


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """Computes the mean cross-entropy of (B, K) logits with label smoothing."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, targets).mean()


def pointwise_l2(params) -> jax.Array:
    """Computes the sum of squares of the pointwise kernels (the paper's section 4.3)."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return sum(
        (jnp.sum(jnp.square(leaf)) for path, leaf in leaves if is_pointwise_kernel(path)),
        start=jnp.zeros(()),
    )
