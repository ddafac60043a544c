"""The choices of the config's fields, and requirements of the networks.

Imports nothing, since configs are validated before JAX is loaded.
"""

_CLASSIC = (
    "alexnet",
    "vgg16",
    "vgg19",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
)
LEAST_IMAGE_SIZES = {  # side in pixels, of each network of dkse_jax.models
    **dict.fromkeys((*_CLASSIC, "se_resnet50"), 64),
    "inception_v4": 75,
    "dkse_net": 32,
}
BLOCK_CHANNELS = {6: 4, 9: 8, 12: 16}  # layer ID of a possible block -> channels, in stem widths
ATTENTIONS = ("dkse", "se", "sk", "none")
FORMS = ("auto", "plain", "fast")  # of each op: dkse_jax/ops/forms.py
DTYPES = ("float32", "bfloat16")
SOURCES = ("synthetic", "folder", "records", "tfds")
VIEWS = ("centre", "tiles")
# Mean and standard deviation of each channel, for values from 0 to 1. Published weights expect
# those of their training: Inception-v4 the last, all others ImageNet's.
NORMALISATIONS = {
    "centred": ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
