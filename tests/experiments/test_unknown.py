import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from dkse_jax.data.sources import load_splits
from dkse_jax.errors import UserError
from dkse_jax.experiments import unknown, unknown_pictures
from dkse_jax.experiments.unknown import Doubts, auroc, auroc_interval
from tests.conftest import thin_config


def doubts(values, groups=None):
    groups = list(map(str, range(len(values)))) if groups is None else groups
    return Doubts(values, values, values, groups)


@pytest.mark.parametrize("decimals", [1, 8])
def test_the_area_is_that_of_scikit_learn(decimals):
    rng = np.random.default_rng(0)
    known, other = rng.normal(size=70).round(decimals), rng.normal(1, 2, 50).round(decimals)
    expected = roc_auc_score([0] * 70 + [1] * 50, np.concatenate([known, other]))
    assert auroc(known, other) == pytest.approx(expected, abs=1e-12)


def test_the_interval_is_of_whole_groups():
    rng = np.random.default_rng(0)
    known, other = rng.normal(size=60), rng.normal(1, 1, 60)
    low, high = auroc_interval(doubts(known), doubts(other))
    assert low < auroc(known, other) < high
    groups = [str(i // 5) for i in range(300)]  # each picture five times
    five = [doubts(values.repeat(5), groups) for values in (known, other)]
    assert auroc_interval(*five) == pytest.approx((low, high), abs=1e-12)
    apart = auroc_interval(*(doubts(values.repeat(5)) for values in (known, other)))
    assert apart[1] - apart[0] < 0.6 * (high - low)


def test_unknown_pictures_are_the_same_every_time(monkeypatch):
    monkeypatch.setattr(unknown_pictures, "PAGES", 2)
    monkeypatch.setattr(unknown_pictures, "CROPS", 2)
    for name, make in unknown_pictures.sources().items():
        pictures, again = make(), make()
        assert len(pictures.images) == len(pictures.groups) >= 2, name
        for one, other in zip(pictures.images, again.images, strict=True):
            assert one.dtype == np.uint8
            assert one.ndim == 3
            assert one.shape[2] == 3
            assert min(one.shape[:2]) >= 32
            np.testing.assert_array_equal(one, other)
    page, blank = (make().images[0] for make in list(unknown_pictures.sources().values())[:2])
    assert page.std() > 2 * blank.std()


def test_a_class_is_left_out_of_a_copy_of_the_pictures(tmp_path):
    root = tmp_path / "root"
    for i in range(36):
        path = root / ("ink", "oil", "wash")[i % 3] / f"book{i // 6}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (7 * i, 0, 0)).save(path)
    config = thin_config()
    config.data.source, config.data.root = "folder", str(root)
    splits = load_splits(config.data, 0)
    folder = tmp_path / "without" / "pictures"
    (tmp_path / "without" / "pictures.tmp").mkdir(parents=True)  # of a start that was killed
    unknown._link_rest(splits, 0, root, folder)
    config.data.root = str(folder)
    rest = load_splits(config.data, 0)
    names = splits["train"].class_names
    for name, split in splits.items():
        kept = split.labels != 0
        assert rest[name].class_names == names[1:]
        np.testing.assert_array_equal(rest[name].labels, split.labels[kept] - 1)
        assert list(rest[name].ids) == [split.ids[i] for i in np.flatnonzero(kept)]
        assert list(rest[name].groups) == [split.groups[i] for i in np.flatnonzero(kept)]


def test_a_run_without_a_calibration_is_not_measured(trained, short):
    with pytest.raises(UserError, match="cannot be measured: uncalibrated: val has 15 pictures"):
        unknown._Network(trained, unknown.runtime.default_mesh())
