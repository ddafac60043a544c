"""The networks, by name."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dkse_jax.errors import UserError, nearest
from dkse_jax.models.alexnet import AlexNet
from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.models.inception_v4 import InceptionV4
from dkse_jax.models.resnet import ResNet
from dkse_jax.models.vgg import VGG

MODELS: dict[str, Callable[..., nn.Module]] = {
    "alexnet": AlexNet,
    "vgg16": partial(VGG, depth=16),
    "vgg19": partial(VGG, depth=19),
    "resnet18": partial(ResNet, depth=18),
    "resnet34": partial(ResNet, depth=34),
    "resnet50": partial(ResNet, depth=50),
    "resnet101": partial(ResNet, depth=101),
    "resnet152": partial(ResNet, depth=152),
    "se_resnet50": partial(ResNet, depth=50, se=True),
    "inception_v4": InceptionV4,
    "dkse_net": DKSENet,
}
DTYPES = ("float32", "bfloat16")


def list_models() -> list[str]:
    """The names of all networks."""
    return list(MODELS)


def create_model(model_config: ConfigDict, num_classes: int) -> nn.Module:
    """The network that `config.model` describes, for num_classes classes.

    `apply(variables, images, train=...)` gives (logits, stages). All networks read the fields name,
    ops and dtype, the others are of dkse_net. Raises UserError for an unknown name or dtype, and
    for fields that do not fit each other.
    """
    name = model_config.name
    if name not in MODELS:
        raise UserError(f'no model "{name}"{nearest(name, MODELS)}')
    if model_config.dtype not in DTYPES:
        raise UserError(f'no dtype "{model_config.dtype}"{nearest(model_config.dtype, DTYPES)}')
    network = partial(
        MODELS[name], num_classes, ops=model_config.ops, dtype=jnp.dtype(model_config.dtype)
    )
    if name != "dkse_net":
        return network()
    return network(
        width=model_config.width,
        positions=tuple(model_config.positions),
        attention=model_config.attention,
        kernel_sizes=tuple(model_config.kernel_sizes),
        dilations=tuple(model_config.dilations),
        reduction=model_config.reduction,
        gate=model_config.gate,
        branch_norm=model_config.branch_norm,
        norm_placement=model_config.norm_placement,
        dropout_before_pool=model_config.dropout_before_pool,
        dropout_after_pool=model_config.dropout_after_pool,
        remat=model_config.remat,
    )
