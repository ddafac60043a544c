"""The networks, by name."""

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dkse_jax.errors import UserError, nearest
from dkse_jax.models.dkse_net import DKSENet

MODELS = ("dkse_net",)
DTYPES = ("float32", "bfloat16")


def create_model(model_config: ConfigDict, num_classes: int) -> nn.Module:
    """The network that `config.model` describes, for num_classes classes.

    `apply(variables, images, train=...)` gives (logits, stages). Raises UserError for an unknown
    name or dtype, and for fields that do not fit each other.
    """
    if model_config.name not in MODELS:
        raise UserError(f'no model "{model_config.name}"{nearest(model_config.name, MODELS)}')
    if model_config.dtype not in DTYPES:
        raise UserError(f'no dtype "{model_config.dtype}"{nearest(model_config.dtype, DTYPES)}')
    return DKSENet(
        num_classes=num_classes,
        width=model_config.width,
        positions=tuple(model_config.positions),
        kernel_sizes=tuple(model_config.kernel_sizes),
        dilations=tuple(model_config.dilations),
        reduction=model_config.reduction,
        gate=model_config.gate,
        branch_norm=model_config.branch_norm,
        norm_placement=model_config.norm_placement,
        dropout_before_pool=model_config.dropout_before_pool,
        dropout_after_pool=model_config.dropout_after_pool,
        ops=model_config.ops,
        dtype=jnp.dtype(model_config.dtype),
    )
