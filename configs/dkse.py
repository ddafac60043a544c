"""The paper's network in all its variants, --config=configs/dkse.py:VARIANT."""

from dkse_jax.configs.dkse import VARIANTS, get_config

__all__ = ["VARIANTS", "get_config"]
