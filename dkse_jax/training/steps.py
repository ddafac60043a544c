"""One update of the weights, as a pure function that jit divides over the devices."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike
from ml_collections import ConfigDict

from dkse_jax.data.transform import Transform, normalise
from dkse_jax.devices import replicated, split_by_example
from dkse_jax.models.separable import is_pointwise_kernel
from dkse_jax.training.state import TrainState

Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, ArrayLike, ArrayLike], tuple[TrainState, Metrics]]


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    config: ConfigDict,
    transform: Transform,
    mesh: Mesh,
) -> TrainStep:
    """The jitted (state, images uint8 (B, S, S, 3), labels (B,)) -> (state, metrics).

    The old state's buffers are given up. BatchNorm's statistics are those of the whole batch,
    over all devices: jit partitions one program, so no axis name is needed.
    """

    def train_step(state: TrainState, images: jax.Array, labels: jax.Array):
        dropout_key = jax.random.fold_in(jax.random.key(config.seed), state.step)

        def loss_fn(params):
            (logits, _), updated = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                normalise(images, transform),
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": dropout_key},
            )
            loss = cross_entropy(logits, labels, config.train.label_smoothing)
            penalty = config.optimizer.pointwise_l2 * pointwise_l2(params)
            return loss + penalty, (loss, logits, updated.get("batch_stats", {}))

        grads, (loss, logits, batch_stats) = jax.grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        new_state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        return new_state, {"loss": loss, "accuracy": (logits.argmax(-1) == labels).mean()}

    whole, split = replicated(mesh), split_by_example(mesh)
    return jax.jit(
        train_step,
        in_shardings=(whole, split, split),
        out_shardings=(whole, whole),
        donate_argnums=0,
    )


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """Mean cross-entropy of (B, K) logits; the target keeps 1 - smoothing, the rest is shared."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, targets).mean()


def pointwise_l2(params) -> jax.Array:
    """The sum of squares of the pointwise kernels (the paper's section 4.3)."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return sum(
        (jnp.sum(jnp.square(leaf)) for path, leaf in leaves if is_pointwise_kernel(path)),
        start=jnp.zeros(()),
    )
