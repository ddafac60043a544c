"""Every field with its default: dkse_jax/config.py lists them."""

from dkse_jax.configs.base import get_config

__all__ = ["get_config"]
