import pytest

from configs import art5, base
from configs.dkse import VARIANTS
from dkse_jax.errors import UserError
from dkse_jax.experiments.published import TABLES
from dkse_jax.experiments.runs import config_of
from dkse_jax.experiments.tables import NAMES, rows_of
from dkse_jax.models import list_models

ART = ("botanical_plate", "engraving", "oil_painting", "pen_drawing", "watercolour")


def rows(table, config=None, class_names=ART):
    return rows_of(table, config or art5.get_config(), VARIANTS, class_names)


@pytest.mark.parametrize("table", ["1", "2", "3"])
def test_the_papers_rows_are_the_variants_with_what_it_prints_beside(table):
    found = rows(table)
    assert [row.name for row in found] == list(TABLES[table])
    for row in found:
        config = config_of(row, 4, base.get_config())
        assert config.seed == 4
        assert {key: config.model[key] for key in VARIANTS[row.name]} == VARIANTS[row.name]
        assert row.published == TABLES[table][row.name]


def test_a_row_changes_nothing_but_its_fields():
    row = next(row for row in rows("1") if row.name == "table1_id9")
    changed, before = config_of(row, 0, art5.get_config()), art5.get_config()
    assert changed.model.positions == (9,)
    assert changed.augment.to_dict() == before.augment.to_dict()
    assert changed.train.to_dict() == before.train.to_dict()
    assert before.model.positions == (6,)  # the base config is unchanged


def test_attention_compares_the_blocks_at_one_position():
    configs = {row.name: config_of(row, 0, art5.get_config()).model for row in rows("attention")}
    assert list(configs) == ["best", "se", "sk", "none"]
    assert [model.attention for model in configs.values()] == ["dkse", "se", "sk", "dkse"]
    assert [model.positions for model in configs.values()] == [(6,), (6,), (6,), ()]


def test_classes_run_from_three_to_all():
    assert [row.changes for row in rows("classes")] == [{"data.classes": n} for n in (3, 4, 5)]
    painted = rows("classes", base.get_config(), ("a", "b", "c", "d", "e"))
    assert [row.changes for row in painted] == [{"data.synthetic.kinds": n} for n in (3, 4, 5, 6)]
    with pytest.raises(UserError, match="needs data with 3 classes or more, and these have 2"):
        rows("classes", class_names=("a", "b"))


def test_baselines_are_every_network_and_every_traditional_classifier():
    found = rows("baselines")
    assert {row.changes["model.name"] for row in found if not row.classifier} == set(list_models())
    classifiers = {row.classifier for row in found} - {""}
    assert classifiers == {"rbf_network", "svm", "knn", "logistic_regression"}


def test_rows_share_a_folder_where_they_are_equal_and_nowhere_else():
    shared = {}
    for table in NAMES[1:]:
        for row in rows(table):
            config = config_of(row, 0, art5.get_config()).to_json()
            kept = shared.setdefault(row.folder, (config, row.classifier))
            assert kept == (config, row.classifier)
            assert row.folder.replace("_", "").isalnum()
    assert [row.folder for row in rows("augmentation")] == ["best", "augmentation_off"]
    folders = {row.name: row.folder for table in "123" for row in rows(table)}
    assert folders["table2_r4_k1_5"] == "best"
    assert folders["table2_r4_k3_5"] == folders["table1_id6"] == "table1_id6"
    assert len(set(folders.values())) == 15 - 1


def test_an_unknown_table_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r'--table is "atention"; did you mean "attention"'):
        rows("atention")
