import json

import pytest

from dkse_jax.errors import UserError
from dkse_jax.workdir import description

INPUTS = {
    "class_names": ["a", "b"],
    "transform": {"size": 32},
    "splits": {"train": {"examples": 3, "fingerprint": "f"}},
}


def start(workdir, config, inputs=INPUTS):
    description.check_workdir(workdir, config)
    description.begin(workdir, config, inputs)


def test_a_new_run_is_described_and_goes_on(tmp_path, config):
    workdir = tmp_path / "deep" / "run"
    start(workdir, config)
    start(workdir, config)
    assert description.load_config(workdir).to_dict() == config.to_dict()
    assert description.load_inputs(workdir) == INPUTS
    assert sorted(path.name for path in workdir.iterdir()) == ["config.json", "inputs.json"]


def test_checking_creates_nothing(tmp_path, config):
    description.check_workdir(tmp_path / "deep" / "run", config)
    assert not list(tmp_path.iterdir())


def test_fields_without_effect_may_change_and_are_kept(tmp_path, config):
    start(tmp_path, config)
    config.data.threads = 77
    config.train.epochs = 9.0
    start(tmp_path, config)
    assert description.load_config(tmp_path).data.threads == 77


def test_another_config_is_refused_field_by_field(tmp_path, config):
    start(tmp_path, config)
    config.train.batch_size = 16
    config.model.reduction = 2
    with pytest.raises(
        UserError, match=r"undo: model.reduction: 4 -> 2, train.batch_size: 8 -> 16$"
    ):
        start(tmp_path, config)
    assert description.load_config(tmp_path).train.batch_size == 8


def test_a_run_of_an_earlier_version_goes_on_by_its_own_command(tmp_path, config, capsys):
    start(tmp_path, config)
    saved = json.loads((tmp_path / "config.json").read_text())
    del saved["data"]["colour_profiles"]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    for _ in range(2):  # the first start writes the config anew
        assert config.data.colour_profiles
        resumed = description.as_begun(tmp_path, config)
        assert not resumed.data.colour_profiles
        start(tmp_path, resumed)
        assert not description.load_config(tmp_path).data.colour_profiles
        line = f"config.data.colour_profiles stays False, with which {tmp_path} was begun\n"
        assert capsys.readouterr().out == line


def test_a_run_of_this_version_keeps_its_config(tmp_path, config):
    assert description.as_begun(tmp_path / "new", config) is config
    start(tmp_path, config)
    config.train.batch_size, config.data.colour_profiles = 16, False
    assert description.as_begun(tmp_path, config).to_dict() == config.to_dict()
    with pytest.raises(UserError, match=r"undo: data.colour_profiles: True -> False, train.batch"):
        start(tmp_path, description.as_begun(tmp_path, config))


def test_a_transform_of_an_earlier_version_is_the_one_it_means(tmp_path, config):
    start(tmp_path, config)
    same = INPUTS | {"transform": {"size": 32, "colour_profiles": False}}
    description.check_inputs(tmp_path, same)
    for other in ({"size": 32, "colour_profiles": True}, {"size": 33}):
        with pytest.raises(UserError, match="other class names or transform"):
            description.check_inputs(tmp_path, INPUTS | {"transform": other})


def test_changed_data_are_refused(tmp_path, config):
    start(tmp_path, config)
    changed = INPUTS | {"splits": {"train": {"examples": 4, "fingerprint": "g"}}}
    with pytest.raises(UserError, match=r"the train data changed .* 3 examples \(now 4\)"):
        start(tmp_path, config, changed)
    with pytest.raises(UserError, match="other class names or transform"):
        start(tmp_path, config, INPUTS | {"class_names": ["a", "c"]})
    assert description.load_inputs(tmp_path) == INPUTS


def test_a_folder_of_something_else_is_refused(tmp_path, config):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="holds something that is not a run"):
        start(tmp_path, config)
    with pytest.raises(UserError, match="holds something that is not a run"):
        start(tmp_path / "thesis.tex", config)
    with pytest.raises(UserError, match=r"cannot be written in .*thesis.tex: Not a directory"):
        start(tmp_path / "thesis.tex" / "run", config)


@pytest.mark.parametrize("left", [["lock"], ["inputs.json", "lock"], ["config.json.tmp"]])
def test_what_a_kill_at_the_very_beginning_leaves_is_not_a_run(tmp_path, config, left):
    for name in left:
        (tmp_path / name).write_text("{")
    start(tmp_path, config)
    assert description.load_inputs(tmp_path) == INPUTS


def test_a_full_disk_is_told(tmp_path, config, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(description, "write_atomically", full)
    with pytest.raises(UserError, match=r"^cannot write .*run \(\d+ MiB free\): .*No space left"):
        start(tmp_path / "run", config)


def test_a_folder_that_is_no_run_cannot_be_loaded(tmp_path):
    with pytest.raises(UserError, match=r"is not a run: config.json cannot be read"):
        description.load_config(tmp_path)
