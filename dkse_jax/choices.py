"""Names that a config can choose from, and what the networks require.

Imports nothing: configs are checked before JAX is loaded, and modules take the same values.
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
BLOCK_CHANNELS = {6: 4, 9: 8, 12: 16}  # layer ID that can hold a block -> channels, in stem widths
ATTENTIONS = ("dkse", "se", "sk", "none")
FORMS = ("auto", "plain", "fast")  # of each op: dkse_jax/ops/forms.py
DTYPES = ("float32", "bfloat16")
SOURCES = ("synthetic", "folder", "records", "tfds")
# Mean and standard deviation of each channel, of values from 0 to 1. Published weights expect those
# they were trained with: Inception-v4's the last, all others ImageNet's.
NORMALISATIONS = {
    "centred": ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
