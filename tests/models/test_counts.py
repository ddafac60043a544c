"""Parameters and MACs, exact: against the paper's layout, its tables and Eqs. 10-12."""

import jax.numpy as jnp
import pytest
from flax import linen as nn

from configs import base
from configs.dkse import VARIANTS, get_config
from dkse_jax.errors import UserError
from dkse_jax.models import configured_model
from dkse_jax.models.counts import Layer, count, table, totals
from dkse_jax.models.dkse_net import DKSENet
from dkse_jax.models.layers import Conv
from dkse_jax.models.separable import SeparableConv

# variant -> trainable parameters, MACs at 299 pixels; five classes.
EXPECTED = {
    "best": (2_566_053, 1_442_662_944),
    "figure10": (14_005_157, 4_669_426_208),
    "none": (2_131_365, 377_694_752),
    "se": (2_131_365 + 8_192, 377_694_752 + 8_192),
    # Two dense 3×3 branches of 128 channels with norms; FC to 32 with a norm, FC to 2 · 128.
    "sk": (
        2_131_365 + 2 * (9 * 128**2 + 256) + 128 * 32 + 64 + 32 * 256,
        377_694_752 + 2 * 9 * 128**2 * 50**2 + 128 * 32 + 32 * 256,
    ),
    "table1_id6": (2_697_125, 1_770_342_944),
    "table1_id9": (4_393_381, 1_770_367_520),
    "table1_id12": (11_177_381, 1_884_105_248),
    "table2_r4_k1_3": (2_303_909, 787_302_944),
    "table2_r4_k1_5": (2_566_053, 1_442_662_944),
    "table2_r4_k3_5": (2_697_125, 1_770_342_944),
    "table2_r4_k1_3_5": (2_713_765, 1_811_302_944),
    "table2_r16_k1_3": (2_297_765, 787_296_800),
    "table2_r16_k1_5": (2_559_909, 1_442_656_800),
    "table2_r16_k3_5": (2_690_981, 1_770_336_800),
    "table2_r16_k1_3_5": (2_707_621, 1_811_296_800),
    "table3_k3_k5": (2_434_981, 1_114_982_944),
    "table3_k3_k7": (2_434_981, 1_114_982_944),
    "table3_k5_k7": (2_434_981, 1_114_982_944),
    "table3_k3_k5_k7": (2_582_693, 1_483_622_944),
}

# Fig. 10 without norms, blocks of 3×3 and 5×5, r = 4: name, output, parameters, MACs.
FIGURE_10 = [
    Layer("dilated_1", (299, 299, 32), 864, 77_242_464),
    Layer("depthwise_2", (99, 99, 32), 288, 2_822_688),
    Layer("separable_3", (99, 99, 64), 2_336, 22_895_136),
    Layer("separable_4", (50, 50, 128), 8_768, 21_920_000),
    Layer("separable_5", (50, 50, 128), 17_536, 43_840_000),
    Layer("dkse_6", (50, 50, 128), 557_056 + 8_192, 1_392_640_000 + 8_192),
    Layer("separable_7", (25, 25, 256), 33_920, 21_200_000),
    Layer("separable_8", (25, 25, 256), 67_840, 42_400_000),
    Layer("dkse_9", (25, 25, 256), 2_228_224 + 32_768, 1_392_640_000 + 32_768),
    Layer("separable_10", (13, 13, 512), 133_376, 22_540_544),
    Layer("separable_11", (13, 13, 512), 266_752, 45_081_088),
    Layer("dkse_12", (13, 13, 512), 8_912_896 + 131_072, 1_506_279_424 + 131_072),
    Layer("separable_13", (7, 7, 1024), 528_896, 25_915_904),
    Layer("separable_14", (7, 7, 1024), 1_057_792, 51_831_808),
    Layer("pool_15", (1024,), 0, 0),
    Layer("logits", (5,), 5_125, 5_120),
]


def test_every_variant_has_an_expected_count():
    assert list(EXPECTED) == list(VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_counts_are_exact(variant):
    assert totals(count(configured_model(get_config(variant).model, 5), 299)) == EXPECTED[variant]


def test_layers_of_figure_10_are_exact():
    net = DKSENet(
        5,
        positions=(6, 9, 12),
        kernel_sizes=(3, 5),
        branch_norm="none",
        norm_placement="second_layer_only",
    )
    layers = count(net, 299)
    norm = 2 * 32  # the second layer keeps its norm
    layers[1] = layers[1]._replace(parameters=layers[1].parameters - norm)
    assert layers == FIGURE_10
    assert totals(layers)[0] == 13_993_701


def test_the_form_of_the_arithmetic_does_not_count():
    plain, fast, auto = (count(DKSENet(5, ops=ops), 32) for ops in ("plain", "fast", "auto"))
    assert plain == fast == auto


def test_other_norms_and_gates():
    def parameters(**fields):
        return totals(count(DKSENet(5, **fields), 32))[0]

    assert parameters(positions=(), norm_placement="second_layer_only") == 2_123_493 + 64
    assert parameters(branch_norm="none") == 2_566_053 - 2 * 2 * 128
    for gate in ("branch_sigmoid", "selective_softmax"):  # one more second FC: 128 / 4 · 128
        assert parameters(gate=gate) == 2_566_053 + 4_096


class _Pair(nn.Module):
    """A dense and a separable convolution of one geometry; a dense layer three times, by scan."""

    @nn.compact
    def __call__(self, x):
        dense, separable = Conv(3, 16, name="dense")(x), SeparableConv(16, name="separable")(x)
        x = jnp.mean(dense + separable, axis=(1, 2))
        scan = nn.scan(
            lambda cell, carry, _: (cell(carry), None),
            variable_broadcast="params",
            split_rngs={"params": False},
            length=3,
        )
        return scan(nn.Dense(16, name="thrice"), x, None)[0]


def test_ratio_of_separable_to_dense_is_eq_12_and_a_scan_counts_every_pass():
    layers = {layer.name: layer for layer in count(_Pair(), 10)}
    dense, separable = layers["dense"].macs, layers["separable"].macs
    assert dense == 10 * 10 * 3 * 3 * 3 * 16
    assert separable == 10 * 10 * 3 * 3 * 3 + 10 * 10 * 3 * 16
    assert separable * 9 * 16 == dense * (9 + 16)  # 1/(h·w) + 1/C'
    assert layers["thrice"].macs == 3 * 16 * 16
    assert layers["thrice"].parameters == 16 * 16 + 16


def test_the_table_has_a_line_for_each_layer_and_the_totals():
    lines = table(FIGURE_10[-3:]).splitlines()
    assert [line.split() for line in lines] == [
        ["layer", "output", "parameters", "MACs"],
        ["separable_14", "7×7×1024", "1,057,792", "51,831,808"],
        ["pool_15", "1024", "0", "0"],
        ["logits", "5", "5,125", "5,120"],
        ["total", "1,062,917", "51,836,928"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_unknown_variant_is_a_user_error():
    with pytest.raises(UserError, match=r'no variant "table1_id7".*did you mean "table1_id'):
        get_config("table1_id7")


def test_a_variant_changes_nothing_but_the_block():
    config, default = get_config("table3_k3_k5_k7"), base.get_config()
    for field in VARIANTS["best"]:
        assert config.model[field] == VARIANTS["table3_k3_k5_k7"][field]
        config.model[field] = default.model[field]
    assert config.to_dict() == default.to_dict()
    assert get_config().to_dict() == default.to_dict()


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith("table")])
def test_a_variant_is_what_its_name_says(variant):
    table_number, *rest = variant.removeprefix("table").split("_")
    fields = VARIANTS[variant]
    if table_number == "1":
        assert rest == [f"id{position}" for position in fields["positions"]]
    elif table_number == "2":
        kernels = "_".join(map(str, fields["kernel_sizes"]))
        assert "_".join(rest) == f"r{fields['reduction']}_k{kernels}"
    else:  # K5 is a 3×3 kernel that spans 5×5 pixels
        assert set(fields["kernel_sizes"]) == {3}
        assert rest == [f"k{2 * dilation + 1}" for dilation in fields["dilations"]]
