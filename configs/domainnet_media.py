"""Five media of DomainNet as classes: docs/tfds.md and dkse_jax/configs/domainnet_media.py."""

from dkse_jax.configs.domainnet_media import MEDIA, get_config

__all__ = ["MEDIA", "get_config"]
