"""The paper's network in all its variants: --config=dkse:VARIANT.

All other fields, such as the hyper-parameters, have their defaults: the paper gives none.
"""

from ml_collections import ConfigDict

from dkse_jax.config import default_config
from dkse_jax.errors import UserError, nearest
from dkse_jax.variants import VARIANTS

__all__ = ["VARIANTS", "get_config"]


def get_config(variant: str = "best") -> ConfigDict:
    """Returns the defaults with the variant's model. Raises UserError for an unknown variant."""
    if variant not in VARIANTS:
        raise UserError(f'no variant "{variant}" of the config dkse{nearest(variant, VARIANTS)}')
    config = default_config()
    config.model.update(VARIANTS[variant])
    return config
