import pytest

from dkse_jax.experiments.ledger import gflops_verdict, parameters_verdict


@pytest.mark.parametrize(
    ("printed", "parameters", "verdict"),
    [
        ("2.7", 2_697_125, "match"),
        ("2.7", 2_749_999, "match"),
        ("2.7", 2_750_000, "no match: 2.8 (truncated, not rounded, it would)"),
        ("11.1", 11_177_381, "no match: 11.2 (truncated, not rounded, it would)"),
        ("2.4", 2_697_125, "no match: 2.7"),
    ],
)
def test_a_parameter_cell_matches_at_its_printed_precision(printed, parameters, verdict):
    assert parameters_verdict(printed, parameters) == verdict


@pytest.mark.parametrize(
    ("printed", "macs", "origin"),
    [
        ("0.75", 1_770_342_944, "2 × MACs without the block, truncated"),
        ("1.77", 1_770_367_520, "MACs"),
        ("3.54", 1_770_342_944, "2 × MACs"),
        ("0.38", 1_770_342_944, "MACs without the block"),
        ("3.37", 1_884_105_248, "none: MACs 1.8841, 2 × MACs 3.7682"),
    ],
)
def test_a_gflops_cell_is_traced_to_a_way_of_counting(printed, macs, origin):
    assert gflops_verdict(printed, macs, 377_694_752) == origin
