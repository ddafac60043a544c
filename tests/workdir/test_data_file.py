import numpy as np
import pytest

from dkse_jax.errors import UserError
from dkse_jax.workdir import data_file

TYPE = np.dtype([("id", "S16"), ("label", "<i4")])


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    rows = np.zeros(1000, TYPE)
    rows["id"] = [rng.bytes(16) for _ in range(1000)]
    rows["label"] = rng.integers(5, size=1000)
    return rows


def test_rows_are_read_as_they_were_written(tmp_path, rows):
    assert data_file.load(tmp_path, TYPE) is None
    data_file.write(tmp_path, rows)
    assert data_file.load(tmp_path, TYPE).tobytes() == rows.tobytes()
    assert np.array_equal(np.load(tmp_path / data_file.FILE), rows)
    data_file.write(tmp_path, rows[:0])
    assert len(data_file.load(tmp_path, TYPE)) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["data.npy"]
    with data_file.opened(tmp_path, TYPE) as read:
        assert len(read(7)) == 0


def test_rows_are_read_in_parts(tmp_path, rows):
    data_file.write(tmp_path, rows)
    with data_file.opened(tmp_path, TYPE) as read:
        parts = [read(400), read(400), read(400), read(400)]
    assert [len(part) for part in parts] == [400, 400, 200, 0]
    assert np.array_equal(np.concatenate(parts), rows)


@pytest.mark.parametrize("place", [0, 9, 60, 128, 5000, -1])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_file_is_refused_by_name(tmp_path, rows, place, damage):
    data_file.write(tmp_path, rows)
    path = tmp_path / data_file.FILE
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data if damage == "flip" else data[:place])
    with pytest.raises(UserError, match=r'data.npy" is damaged \(.*\): restore it; or remove it'):
        data_file.load(tmp_path, TYPE)
    with pytest.raises(UserError, match="is damaged"), data_file.opened(tmp_path, TYPE):
        pass


def test_a_failed_write_keeps_the_old_rows(tmp_path, rows, monkeypatch):
    data_file.write(tmp_path, rows[:10])

    def full(file, *rest, **named):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(UserError, match=r"cannot write .*data.npy .*No space left"):
        data_file.write(tmp_path, rows)
    assert len(data_file.load(tmp_path, TYPE)) == 10
    assert len(list(tmp_path.iterdir())) == 1
