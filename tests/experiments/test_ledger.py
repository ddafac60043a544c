import pytest

from configs.dkse import VARIANTS, get_config
from dkse_jax.errors import UserError
from dkse_jax.experiments import ledger
from dkse_jax.experiments.ledger import gflops_verdict, parameters_verdict
from dkse_jax.experiments.published import TABLES
from dkse_jax.models import configured_model
from scripts.fill_pages import PAGES, RESULTS, filled


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


def test_the_ledger_in_the_repository_is_that_of_the_networks():
    def network(variant):
        return configured_model(get_config(variant).model, ledger.CLASSES)

    entries = ledger.ledger(VARIANTS, network)
    assert sum(entry.parameters_verdict == "match" for entry in entries) == 14
    assert [entry.variant for entry in entries if entry.printed_parameters] == [
        variant for rows in TABLES.values() for variant in rows
    ]
    assert {entry.variant for entry in entries} == set(VARIANTS)
    text = ledger.as_markdown(entries)
    assert (RESULTS / "table-counts.md").read_text() == text
    assert (RESULTS / "table-counts.csv").read_text() == ledger.as_csv(entries)


def test_the_pages_have_the_tables_as_they_were_written():
    for path, row in zip(PAGES, ("| table1_id12 ", "| F1 "), strict=True):
        page = path.read_text()
        assert filled(page, RESULTS) == page
        assert row in page


def test_a_table_that_was_not_written_is_named(tmp_path):
    with pytest.raises(UserError, match="names the table table-9, but there is no"):
        filled("<!-- table-9 -->\n<!-- end -->", tmp_path)
