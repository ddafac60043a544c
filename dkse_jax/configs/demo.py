"""A few minutes on a laptop: the paper's best network on small synthetic images.

python train.py --config=demo
"""

from ml_collections import ConfigDict

from dkse_jax.configs import dkse


def get_config() -> ConfigDict:
    """Returns the config dkse at 64 pixels."""
    config = dkse.get_config()
    config.data.image_size = 64
    config.data.synthetic.train_per_kind = 400
    config.data.synthetic.val_per_kind = 40
    config.data.synthetic.test_per_kind = 80
    config.train.epochs = 14.0
    config.augment.crop_area_min = 0.6
    return config
