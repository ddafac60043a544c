"""The config of all defaults, as listed in dkse_jax/config.py."""

from ml_collections import ConfigDict

from dkse_jax.config import default_config


def get_config() -> ConfigDict:
    """Returns the paper's best network on the embedded data set, at the paper's input size."""
    return default_config()
