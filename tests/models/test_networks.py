"""All networks by name: exact counts, stages, sizes and modes, on shapes alone."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from configs.base import get_config
from dkse_jax import config as configs
from dkse_jax.errors import UserError
from dkse_jax.models import configured_model, create_model, list_models
from dkse_jax.models.counts import count, totals

# network -> trainable parameters with five classes, MACs at 224 pixels, the last two at 299.
EXPECTED = {
    "alexnet": (57_024_325, 710_112_960),
    "vgg16": (134_281_029, 15_466_188_800),
    "vgg19": (139_590_725, 19_627_986_944),
    "resnet18": (11_179_077, 1_813_563_904),
    "resnet34": (21_287_237, 3_663_251_968),
    "resnet50": (23_518_277, 4_087_146_496),
    "resnet101": (42_510_405, 7_799_367_680),
    "resnet152": (58_154_053, 11_511_588_864),
    "se_resnet50": (26_049_269, 4_089_661_440),
    "inception_v4": (41_150_501, 12_252_446_304),
    "dkse_net": (2_566_053, 1_442_662_944),
}
LEAST = dict.fromkeys(EXPECTED, 64) | {"inception_v4": 75, "dkse_net": 32}

# network -> at 224 pixels, at 299 for Inception-v4, what the papers' tables and figures say.
STAGES = {
    "alexnet": {
        "conv1": (55, 55, 64),
        "max_pool1": (27, 27, 64),
        "conv2": (27, 27, 192),
        "max_pool2": (13, 13, 192),
        "conv3": (13, 13, 384),
        "conv4": (13, 13, 256),
        "conv5": (13, 13, 256),
        "max_pool5": (6, 6, 256),
        "fc6": (4096,),
        "fc7": (4096,),
        "logits": (5,),
    },
    "vgg16": {
        "conv1_2": (224, 224, 64),
        "max_pool1": (112, 112, 64),
        "conv2_2": (112, 112, 128),
        "conv3_3": (56, 56, 256),
        "conv4_3": (28, 28, 512),
        "conv5_3": (14, 14, 512),
        "max_pool5": (7, 7, 512),
        "fc7": (4096,),
    },
    "vgg19": {"conv3_4": (56, 56, 256), "conv5_4": (14, 14, 512)},
    "resnet18": {
        "stem": (112, 112, 64),
        "max_pool": (56, 56, 64),
        "layer1_1": (56, 56, 64),
        "layer2_1": (28, 28, 128),
        "layer3_1": (14, 14, 256),
        "layer4_1": (7, 7, 512),
        "average_pool": (512,),
        "logits": (5,),
    },
    "resnet34": {"layer1_2": (56, 56, 64), "layer3_5": (14, 14, 256), "layer4_2": (7, 7, 512)},
    "resnet50": {
        "max_pool": (56, 56, 64),
        "layer1_2": (56, 56, 256),
        "layer2_3": (28, 28, 512),
        "layer3_5": (14, 14, 1024),
        "layer4_2": (7, 7, 2048),
        "average_pool": (2048,),
    },
    "resnet101": {"layer3_22": (14, 14, 1024), "layer4_2": (7, 7, 2048)},
    "resnet152": {"layer2_7": (28, 28, 512), "layer3_35": (14, 14, 1024)},
    "se_resnet50": {"layer1_2": (56, 56, 256), "layer4_2": (7, 7, 2048)},
    "inception_v4": {
        "conv1a": (149, 149, 32),
        "conv2a": (147, 147, 32),
        "conv2b": (147, 147, 64),
        "mixed3a": (73, 73, 160),
        "mixed4a": (71, 71, 192),
        "mixed5a": (35, 35, 384),
        "inception_a4": (35, 35, 384),
        "reduction_a": (17, 17, 1024),
        "inception_b7": (17, 17, 1024),
        "reduction_b": (8, 8, 1536),
        "inception_c3": (8, 8, 1536),
        "average_pool": (1536,),
        "logits": (5,),
    },
    "dkse_net": {"separable_14": (7, 7, 1024)},
}

# The others are of the same classes, with another row of the same table.
DISTINCT = ("alexnet", "vgg16", "resnet18", "se_resnet50", "inception_v4", "dkse_net")

# network -> rate and input of every dropout, in order.
DROPOUTS = {
    "alexnet": [(0.5, (2, 9216)), (0.5, (2, 4096))],
    "vgg16": [(0.5, (2, 4096))] * 2,
    "inception_v4": [(0.2, (2, 1536))],
    "dkse_net": [(0.1, (2, 1, 1, 1024)), (0.2, (2, 1024))],
}


def _images(*shape):
    return jax.ShapeDtypeStruct((*shape, 3), jnp.float32)


def test_every_network_has_an_expected_count_and_stages():
    assert list_models() == list(EXPECTED) == list(STAGES)


@pytest.mark.parametrize("name", EXPECTED)
def test_counts_are_exact(name, network):
    size = 299 if name in ("inception_v4", "dkse_net") else 224
    layers = {layer.name: layer for layer in count(network(name)[0], size)}
    assert totals(layers.values()) == EXPECTED[name]
    assert {stage: layers[stage].output_shape for stage in STAGES[name]} == STAGES[name]
    pools = [layer for layer in layers if "pool" in layer]
    assert pools
    assert totals(layers[pool] for pool in pools) == (0, 0)


def test_counts_are_those_of_torchvision_and_timm():
    reference = json.loads((Path(__file__).parent / "reference.json").read_text())
    assert set(reference["networks"]) == set(EXPECTED) - {"dkse_net"}
    for name, libraries in reference["networks"].items():
        for library, theirs in libraries.items():
            assert (theirs["parameters"], theirs["macs"]) == EXPECTED[name], library


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", DISTINCT)
def test_stages_statistics_and_dropout(name, train, network):
    """A stage is the output of the layer of its name; only training moves and drops."""
    net, variables = network(name)
    net = net.clone(dtype=jnp.bfloat16)
    dropouts = []

    def note(call, args, kwargs, context):
        if isinstance(context.module, nn.Dropout):
            assert context.module.deterministic != train
            dropouts.append((context.module.rate, args[0].shape))
        return call(*args, **kwargs)

    def run(variables, images):
        with nn.intercept_methods(note):
            (logits, stages), state = net.apply(
                variables,
                images,
                train=train,
                mutable=["batch_stats", "intermediates"],
                rngs={"dropout": jax.random.key(0)},
                capture_intermediates=lambda module, _: len(module.path) == 1,
            )
        outputs = {
            layer: output["__call__"][0]
            for layer, output in state["intermediates"].items()
            if layer in variables["params"]
        }
        assert set(outputs) == set(variables["params"])
        assert all(outputs[layer] is stages[layer] for layer in outputs)
        assert logits is list(stages.values())[-1]
        before = flatten_dict(variables.get("batch_stats", {}))
        after = flatten_dict(state.get("batch_stats", {}))
        assert set(before) == set(after)
        assert all((before[path] is not after[path]) == train for path in before)
        return logits, stages, after

    images = _images(2, LEAST[name], LEAST[name])
    logits, stages, statistics = jax.eval_shape(run, variables, images)
    assert logits.shape == (2, 5)
    assert dropouts == DROPOUTS.get(name, [])
    assert {leaf.dtype for leaf in statistics.values()} <= {jnp.dtype("float32")}
    wide = {stage for stage, value in stages.items() if value.dtype == jnp.float32}
    assert wide >= {"logits"}
    assert wide <= {"logits", "pre_logits", "average_pool", "pool_15"}


@pytest.mark.parametrize("name", EXPECTED)
def test_pre_logits_are_what_the_classifier_sees(name, network):
    net, variables = network(name)

    def run(variables, images):
        seen = []

        def note(call, args, kwargs, context):
            if context.module.path == ("logits",):
                seen.append(args[0])
            return call(*args, **kwargs)

        with nn.intercept_methods(note):
            _, stages = net.apply(variables, images)
        (features,) = seen
        assert stages["pre_logits"] is features
        return features

    (batch,) = jax.export.symbolic_shape("b")
    features = jax.eval_shape(run, variables, _images(batch, LEAST[name], LEAST[name]))
    assert features.shape == (batch, variables["params"]["logits"]["kernel"].shape[0])


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "dkse_net"])
def test_bfloat16_keeps_float32_variables(name, network):
    net, variables = network(name)
    images = _images(1, 64, 64)
    narrow = jax.eval_shape(net.clone(dtype=jnp.bfloat16).init, jax.random.key(0), images)
    assert narrow == variables


@pytest.mark.parametrize("name", EXPECTED)
def test_smaller_images_are_refused_by_the_config_and_by_the_network(name, network):
    least, config, net = LEAST[name], get_config(), network(name)[0]
    config.model.name, config.data.image_size = name, least
    configs.validate(config)
    config.data.image_size = least - 1
    with pytest.raises(UserError, match=rf"^config.data.image_size is .* at least {least}\b.*$"):
        configs.validate(config)
    for sides in ((least - 1, least), (least, least - 1)):
        with pytest.raises(UserError, match=rf"{least - 1}.* too small .* {least}×{least}"):
            jax.eval_shape(net.init, jax.random.key(0), _images(1, *sides))


@pytest.mark.parametrize("name", ["resnet5", "inception", "vgg-16"])
def test_an_unknown_name_is_refused_with_the_nearest(name):
    nearest = {"resnet5": "resnet50", "inception": "inception_v4", "vgg-16": "vgg16"}[name]
    config = get_config()
    config.model.name = name
    with pytest.raises(UserError, match=f'no model "{name}"; did you mean "{nearest}"'):
        configured_model(config.model, 5)
    with pytest.raises(UserError, match=f'model.name is .*; did you mean "{nearest}"'):
        configs.validate(config)


def test_fields_of_dkse_net_do_not_matter_to_others(network):
    config = get_config()
    config.model.name, config.model.dilations, config.model.reduction = "vgg16", (1, 2, 3), 7
    config.model.ops = "plain"
    configs.validate(config)
    assert configured_model(config.model, 5) == network("vgg16")[0].clone(ops="plain")


def test_create_model_takes_a_name_and_fields():
    net = create_model("dkse_net", num_classes=7, positions=(9,), kernel_sizes=(3, 5), ops="plain")
    assert (net.num_classes, net.positions, net.ops) == (7, (9,), "plain")
    assert create_model("vgg16", 4, dtype="bfloat16").dtype == jnp.bfloat16
    for arguments, fields, sentence in (
        (("dkse_nt", 5), {}, 'no model "dkse_nt"; did you mean "dkse_net"?'),
        (("dkse_net", 5), {"position": (6,)}, 'no field "position"; did you mean "positions"?'),
        (("vgg16", 5), {"positions": (6,)}, 'vgg16 has no field "positions"'),
        (("vgg16", 5), {"dtype": "float8"}, 'no dtype "float8"'),
    ):
        with pytest.raises(UserError, match=re.escape(sentence)):
            create_model(*arguments, **fields)
