"""Five media of DomainNet (Peng et al., ICCV 2019): the class is the medium, not the subject.

python train.py --config=domainnet_media --config.data.root=TFDS_DATA

docs/tfds.md describes how to prepare the data. Not trained by us, hence without an accuracy: run
on synthetic data only (tests/data/sources/test_domainnet.py).
"""

from ml_collections import ConfigDict

from dkse_jax.configs import dkse

MEDIA = ("clipart", "infograph", "painting", "quickdraw", "sketch")


def get_config(variant: str = "best") -> ConfigDict:
    """Returns dkse:VARIANT on equally many images of each medium."""
    config = dkse.get_config(variant)
    config.data.source = "tfds"  # --config.data.root=TFDS_DATA
    config.data.tfds.builder = ",".join(f"domainnet/{medium}" for medium in MEDIA)
    config.data.tfds.class_of = "builder"
    # Of DomainNet's own train and test. By its authors' count, the smallest medium, clipart, has
    # 33,525 and 14,604 images, and quickdraw, which would dominate, 120,750 and 51,750.
    config.data.tfds.train_split = "train[:28000]"
    config.data.tfds.val_split = "train[28000:32000]"
    config.data.tfds.test_split = "test[:14000]"
    config.data.image_size = 128
    config.train.epochs = 10.0
    return config
