"""A few minutes on a laptop: python train.py --config=configs/demo.py"""

from dkse_jax.configs.demo import get_config

__all__ = ["get_config"]
