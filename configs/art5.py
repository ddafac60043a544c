"""Five kinds of art from 61 books: the commands and accuracies are in dkse_jax/configs/art5.py."""

from dkse_jax.configs.art5 import get_config

__all__ = ["get_config"]
