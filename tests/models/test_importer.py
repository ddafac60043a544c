"""Published weights: the logits of torchvision and timm with the same weights, and every misfit."""

import json
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from dkse_jax.errors import UserError
from dkse_jax.models import list_models
from dkse_jax.models.fold import fold
from dkse_jax.models.importer import (
    RULES,
    export_tensors,
    import_tensors,
    import_weights,
    layouts,
    read_tensors,
)
from scripts.reference_logits import IMAGES, NETWORKS, digest, draw

REFERENCE = json.loads((Path(__file__).parent / "reference.json").read_text())


def _drawn(slots):
    return {name: draw(name, slot.shape) for name, slot in slots.items()}


@pytest.mark.parametrize("name", IMAGES)
def test_logits_are_those_of_the_published_network(name, network):
    net, template = network(name)
    variables = import_tensors(name, _drawn(layouts(name, template)[0]), template)
    images = draw("images", (2, *IMAGES[name], 3))
    expected = np.array(REFERENCE["logits"][name])
    largest = np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 0.01 * largest  # the two images differ
    close = partial(np.testing.assert_allclose, desired=expected, rtol=0, atol=1e-4 * largest)
    close(jax.jit(net.clone(ops="plain").apply)(variables, images)[0])
    if name == "alexnet":  # the layers of the others, folded: test_blocks and test_fold
        judge = jax.jit(lambda v, x: net.apply(fold(net, v, 75), x)[0])
        close(judge(variables, images))


def test_every_network_but_ours_is_published():
    assert set(RULES) == set(list_models()) - {"dkse_net"} == {ours for ours, *_ in NETWORKS}


@pytest.mark.parametrize("name", RULES)
def test_names_and_shapes_are_the_libraries(name, network):
    _, template = network(name)
    ours = [
        digest({theirs: slot.shape for theirs, slot in slots.items()})
        for slots in layouts(name, template)
    ]
    theirs = [library["tensors"] for library in REFERENCE["networks"][name].values()]
    assert ours == list(dict.fromkeys(theirs))
    for slots in layouts(name, template):
        assert {slot.path for slot in slots.values()} == set(flatten_dict(template))


@pytest.fixture(scope="module")
def thin_vgg():
    """A template: the rules do not know the widths."""
    return {
        "params": {
            "conv1_1": {"conv": {"kernel": np.zeros((3, 3, 3, 2), np.float32)}},
            "fc6": {"dense": {"kernel": np.zeros((7 * 7 * 2, 4), np.float32)}},
            "fc7": {"dense": {"kernel": np.zeros((4, 4), np.float32)}},
            "logits": {"kernel": np.zeros((4, 3), np.float32)},
        }
    }


def test_both_layouts_of_vgg_give_the_same_variables(thin_vgg):
    template = thin_vgg
    torchvision, timm = layouts("vgg16", template)
    linear = _drawn(torchvision)
    convolution = {
        theirs: linear[ours].reshape(timm[theirs].shape)
        for ours, theirs in zip(torchvision, timm, strict=True)
    }
    assert convolution["pre_logits.fc1.weight"].shape == (4, 2, 7, 7)
    one, other = (import_tensors("vgg16", t, template) for t in (linear, convolution))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    fc6 = one["params"]["fc6"]["dense"]["kernel"].reshape(7, 7, 2, 4)
    np.testing.assert_array_equal(fc6, convolution["pre_logits.fc1.weight"].transpose(2, 3, 1, 0))


@pytest.fixture(scope="module")
def resnet18(network):
    """(shapes of the variables, drawn published tensors), for five classes."""
    _, template = network("resnet18")
    return template, _drawn(layouts("resnet18", template)[0])


def test_exported_tensors_are_those_that_were_imported(resnet18, thin_vgg):
    thin = thin_vgg, _drawn(layouts("vgg16", thin_vgg)[0])
    for name, (template, tensors) in {"resnet18": resnet18, "vgg16": thin}.items():
        exported = export_tensors(name, import_tensors(name, tensors, template))
        assert exported.keys() == tensors.keys()
        for theirs, tensor in tensors.items():
            np.testing.assert_array_equal(exported[theirs], tensor, err_msg=theirs, strict=True)


def test_a_file_fills_every_variable_and_counters_of_batches_are_dropped(resnet18, tmp_path):
    template, tensors = resnet18
    half = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    counters = {"bn1.num_batches_tracked": np.array(7)}
    save_file(half | counters, tmp_path / "a.safetensors")
    variables = import_weights("resnet18", tmp_path / "a.safetensors", template)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, np.dtype(leaf.dtype)), template)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables) == shapes
    kernel = variables["params"]["layer2_0"]["downsample"]["conv"]["kernel"]
    theirs = half["layer2.0.downsample.0.weight"].astype(np.float32)
    np.testing.assert_array_equal(kernel[0, 0], theirs[:, :, 0, 0].T)
    np.testing.assert_array_equal(
        variables["batch_stats"]["stem"]["norm"]["var"], np.float32(half["bn1.running_var"])
    )


def test_every_misfit_is_named_in_one_sentence(resnet18, tmp_path):
    template, tensors = resnet18
    tensors = dict(tensors)
    del tensors["layer1.0.conv1.weight"], tensors["bn1.running_mean"]
    tensors["layer1.0.conv3.weight"] = np.zeros((1,), np.float32)
    tensors["steps.num_batches_tracked"] = np.array(1)
    tensors["conv1.weight"] = np.zeros((64, 1, 7, 7), np.float32)
    tensors["fc.bias"] = np.zeros((1000,), np.float32)
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(UserError) as error:
        import_weights("resnet18", tmp_path / "a.safetensors", template)
    assert str(error.value) == (
        f"{tmp_path / 'a.safetensors'}: these are no weights of resnet18; "
        "missing: bn1.running_mean, layer1.0.conv1.weight; "
        "unknown: layer1.0.conv3.weight, steps.num_batches_tracked; "
        "of another shape: conv1.weight (64×1×7×7 instead of 64×3×7×7), fc.bias (1000 instead of 5)"
    )


def test_the_head_is_kept_where_the_classes_differ_and_only_if_asked(resnet18):
    template, tensors = resnet18
    head = {"kernel": np.full((512, 3), 2, np.float32), "bias": np.ones(3, np.float32)}
    template = {**template, "params": {**template["params"], "logits": head}}
    with pytest.raises(UserError, match=r"of another shape: fc.bias .*, fc.weight \(5×512 instead"):
        import_tensors("resnet18", tensors, template)
    variables = import_tensors("resnet18", tensors, template, replace_head=True)
    jax.tree.map(np.testing.assert_array_equal, variables["params"]["logits"], head)
    np.testing.assert_array_equal(variables["params"]["stem"]["norm"]["bias"], tensors["bn1.bias"])
    narrow = tensors | {"fc.weight": np.zeros((5, 511), np.float32)}
    with pytest.raises(UserError, match=r"fc.weight \(5×511 instead of 3×512\)"):
        import_tensors("resnet18", narrow, template, replace_head=True)
    same = import_tensors("resnet18", tensors, resnet18[0], replace_head=True)
    np.testing.assert_array_equal(same["params"]["logits"]["bias"], tensors["fc.bias"])


def test_a_network_that_is_not_published_is_refused():
    with pytest.raises(UserError, match='no weights are published for "dkse_net"'):
        import_tensors("dkse_net", {}, {})


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "pytorch_model.bin"])
def test_a_pickle_is_not_opened(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x80\x04")
    with pytest.raises(UserError, match=r"pickle.* scripts/pth_to_safetensors\.py"):
        read_tensors(tmp_path / name)
    assert (Path(__file__).parents[2] / "scripts" / "pth_to_safetensors.py").is_file()


@pytest.mark.parametrize("size", [0, 7, 20, 90, -1])
def test_a_damaged_file_is_one_sentence(size, tmp_path):
    file = tmp_path / "a.safetensors"
    save_file({"fc.bias": np.arange(5.0)}, file)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(UserError, match=r"^\S+a\.safetensors cannot be read as \.safetensors: .*$"):
        read_tensors(file)


def write(file, tensors):
    """A .safetensors file of zeros: {name: (dtype, bytes of an element)}."""
    header, end = {}, 0
    for name, (dtype, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [4], "data_offsets": [end, end + 4 * size]}
        end += 4 * size
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("F8_E4M3", 1), ("F8_E5M2", 1), ("F8_E8M0", 1), ("I8", 1), ("U8", 1), ("BOOL", 1), ("C64", 8)],
)
def test_weights_that_are_no_plain_floats_are_refused(dtype, size, tmp_path):
    """Also those that NumPy knows: of 8-bit weights the scales are elsewhere."""
    file = tmp_path / "a.safetensors"
    write(file, {"fc.bias": ("F32", 4), "fc.weight": (dtype, size), "z": (dtype, size)})
    with pytest.raises(UserError) as caught:
        read_tensors(file)
    assert str(caught.value) == (
        f"{file} has weights of the dtype {dtype}, such as fc.weight; only F16, BF16, F32, F64"
        " can be read: convert them to one of these"
    )


def test_half_floats_and_counters_are_read(tmp_path):
    known = {"a": ("F16", 2), "b": ("BF16", 2), "bn1.num_batches_tracked": ("I64", 8)}
    write(tmp_path / "a.safetensors", known)
    found = read_tensors(tmp_path / "a.safetensors")
    assert {name: str(value.dtype) for name, value in found.items()} == {
        "a": "float16",
        "b": "bfloat16",
        "bn1.num_batches_tracked": "int64",
    }


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"^there is no file \S+none\.safetensors$"):
        read_tensors(tmp_path / "none.safetensors")


def test_a_file_without_weights_lists_what_it_lacks(thin_vgg, tmp_path):
    write(tmp_path / "a.safetensors", {})
    with pytest.raises(UserError, match=r"these are no weights of vgg16; .*features\.0\.weight"):
        import_weights("vgg16", tmp_path / "a.safetensors", thin_vgg)
