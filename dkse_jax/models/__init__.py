"""The networks, by name."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dkse_jax.choices import DTYPES
from dkse_jax.errors import UserError, nearest
from dkse_jax.models.alexnet import AlexNet
from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.models.inception_v4 import InceptionV4
from dkse_jax.models.resnet import ResNet
from dkse_jax.models.vgg import VGG
from dkse_jax.ops.forms import ANY, Target

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


def list_models() -> list[str]:
    """Returns the names of all networks."""
    return list(MODELS)


def create_model(
    name: str,
    num_classes: int,
    *,
    dtype: str = "float32",
    target: Target = ANY,
    **fields: Any,
) -> nn.Module:
    """Returns a network of `list_models`, whose `apply(variables, images)` is (logits, stages).

    Args:
        name: of the network.
        num_classes: K; logits are (B, K).
        dtype: of the activations.
        target: the devices that it runs on: see `sharding.target_of`.
        fields: of the module, such as ops for all networks, or positions for `DKSENet`.

    Raises:
        UserError: an unknown name, dtype or field, or fields that do not fit each other.
    """
    if name not in MODELS:
        raise UserError(f'no model "{name}"{nearest(name, MODELS)}')
    if dtype not in DTYPES:
        raise UserError(f'no dtype "{dtype}"{nearest(dtype, DTYPES)}')
    network = partial(MODELS[name], num_classes, dtype=jnp.dtype(dtype), target=target)
    known = set(inspect.signature(network).parameters) - {"num_classes", "parent", "name"}
    for field in fields.keys() - known:
        raise UserError(f'{name} has no field "{field}"{nearest(field, known)}')
    return network(**fields)


def configured_model(model_config: ConfigDict, num_classes: int, target: Target = ANY) -> nn.Module:
    """Returns the network that `config.model` describes: see `create_model`.

    All networks read the fields name, ops and dtype; dkse_net reads all.
    """
    fields = model_config.to_dict()
    name, dtype = fields.pop("name"), fields.pop("dtype")
    if name != "dkse_net":
        fields = {"ops": fields["ops"]}
    return create_model(name, num_classes, dtype=dtype, target=target, **fields)
