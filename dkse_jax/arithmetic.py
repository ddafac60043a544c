"""How model.dtype=bfloat16 is computed on a CPU: by its products of bfloat16, or in float32."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax import runtime, sharding
from dkse_jax.console import log
from dkse_jax.models import configured_model

Arithmetic = Literal["bfloat16", "float32"]


def choose(config: ConfigDict, mesh: Mesh, recorded: Arithmetic | None) -> Arithmetic | None:
    """Returns the arithmetic of a network of bfloat16 on a CPU; None for other networks or devices.

    Without products of bfloat16, float32 is faster and more exact. recorded: the arithmetic that
    the run was begun with, which stays if this processor has it.
    """
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    if not on_cpu or config.model.dtype != "bfloat16" or config.model.ops == "plain":
        return None
    if recorded == "float32":
        return recorded
    if runtime.multiplies_bfloat16():
        return "bfloat16"
    begun = ", with which this run was begun: from here on its numbers differ a little"
    log(
        "this processor has no products of bfloat16 (avx512_bf16, amx_bf16)"
        f"{begun if recorded else ''}; config.model.dtype=bfloat16 is computed in float32"
    )
    return "float32"


def network(
    config: ConfigDict, num_classes: int, mesh: Mesh, arithmetic: Arithmetic | None
) -> nn.Module:
    """Returns the config's network for the mesh, in the arithmetic of `choose`."""
    model = configured_model(config.model, num_classes)
    return placed(model, mesh, arithmetic)


def placed(model: nn.Module, mesh: Mesh, arithmetic: Arithmetic | None) -> nn.Module:
    """Returns the network for the mesh, in the arithmetic of `choose`."""
    fields: dict[str, Any] = {"dtype": jnp.dtype(jnp.float32)} if arithmetic == "float32" else {}
    target = sharding.target_of(mesh, bfloat16=arithmetic == "bfloat16")
    return model.clone(target=target, **fields)
