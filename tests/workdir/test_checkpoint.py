"""Checkpoints: exact round trips, no silent damage, what is kept, other devices."""

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from dkse_jax import files
from dkse_jax.errors import UserError
from dkse_jax.workdir import checkpoint
from dkse_jax.workdir.checkpoint import DamagedCheckpoint

MESH = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
REPLICATED = NamedSharding(MESH, PartitionSpec())
ONE = SingleDeviceSharding(jax.devices()[0])
TX = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(lambda step: 0.1))


def make_state(step: int, sharding: Any = REPLICATED) -> tuple[Any, Any]:
    """(variables, training) with values of their own for each step."""
    rng = np.random.default_rng(step)
    params = {
        "stem": {"kernel": rng.normal(size=(3, 3, 3, 16)).astype(np.float32)},
        "head": {"kernel": rng.normal(size=(16, 5)), "bias": rng.normal(size=5)},
    }
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    stats = {"norm": {"mean": jnp.full((16,), step, jnp.float32)}}
    variables = {"params": params, "batch_stats": stats}
    training = {"opt_state": TX.init(params), "step": jnp.asarray(step, jnp.int32)}
    return jax.device_put(variables, sharding), jax.device_put(training, sharding)


def abstract(tree: Any, sharding: Any = REPLICATED) -> Any:
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


WITH_20 = ["10", "10.json", "20", "20.json"]
TARGETS = [abstract(part) for part in make_state(0)]


def save(workdir: Path, step: int, **metrics: float) -> None:
    checkpoint.save(workdir, step, *make_state(step), metrics)


def assert_equal(found: Any, expected: Any) -> None:
    assert str(jax.tree.structure(found)) == str(jax.tree.structure(expected))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def names(workdir: Path) -> list[str]:
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Steps 10 (the best) and 20 (the newest); not to be changed."""
    workdir = tmp_path_factory.mktemp("saved")
    save(workdir, 10, accuracy=0.5, loss=1.0)
    save(workdir, 20)
    return workdir


@pytest.fixture
def workdir(saved, tmp_path):
    """A copy of `saved`, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "run"))


def test_the_round_trip_is_exact_in_structure_and_values(saved):
    for step in (10, 20):
        restored = checkpoint.restore(saved, step, *TARGETS)
        assert_equal(restored, make_state(step))
        assert all(leaf.sharding == REPLICATED for leaf in jax.tree.leaves(restored))


def test_variables_are_restored_alone(saved):
    variables, _ = checkpoint.restore(saved, 10, TARGETS[0])
    assert_equal(variables, make_state(10)[0])


def test_eight_devices_to_one_and_back(saved, tmp_path):
    variables, training = checkpoint.restore(
        saved, 20, *[abstract(target, ONE) for target in TARGETS]
    )
    assert_equal((variables, training), make_state(20))
    assert all(leaf.sharding == ONE for leaf in jax.tree.leaves(variables))
    checkpoint.save(tmp_path, 20, variables, training, {})
    split = NamedSharding(MESH, PartitionSpec(None, None, None, "data"))
    target = abstract(TARGETS[0])
    kernel = target["params"]["stem"]["kernel"]
    target["params"]["stem"]["kernel"] = jax.ShapeDtypeStruct(
        kernel.shape, kernel.dtype, sharding=split
    )
    variables, _ = checkpoint.restore(tmp_path, 20, target)
    assert_equal(variables, make_state(20)[0])
    assert variables["params"]["stem"]["kernel"].sharding == split


def test_a_network_without_batch_stats(tmp_path):
    variables, training = make_state(1)
    variables["batch_stats"] = {}
    checkpoint.save(tmp_path, 1, variables, training, {})
    restored, _ = checkpoint.restore(tmp_path, 1, abstract(variables))
    assert_equal(restored, variables)


def damaged_files(workdir: Path) -> list[Path]:
    root = workdir / "checkpoints"
    files = [path for path in sorted((root / "20").rglob("*")) if path.is_file()]
    assert len(files) > 15
    return [*files, root / "20.json"]


def assert_damage_is_told(workdir: Path, path: Path) -> None:
    with pytest.raises(DamagedCheckpoint) as error:
        checkpoint.restore(workdir, 20, *TARGETS)
    assert str(error.value) == f"step 20 is damaged: {path}"


def test_a_flipped_bit_anywhere_in_any_file_is_told(workdir):
    rng = np.random.default_rng(0)
    for path in damaged_files(workdir):
        whole = path.read_bytes()
        for place in {0, len(whole) - 1, *map(int, rng.integers(len(whole), size=2))}:
            flipped = bytearray(whole)
            flipped[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            assert_damage_is_told(workdir, path)
        assert checkpoint.latest_step(workdir) == 10
        path.write_bytes(whole)
    assert_equal(checkpoint.restore(workdir, 20, *TARGETS), make_state(20))


def test_a_truncated_emptied_or_deleted_file_is_told(workdir):
    for path in damaged_files(workdir):
        whole = path.read_bytes()
        for part in (whole[: len(whole) // 2], b""):
            path.write_bytes(part)
            assert_damage_is_told(workdir, path)
        path.unlink()
        if path.suffix == ".json":
            with pytest.raises(DamagedCheckpoint, match="there is no step 20 in"):
                checkpoint.restore(workdir, 20, *TARGETS)
        else:
            assert_damage_is_told(workdir, path)
        assert checkpoint.latest_step(workdir) == 10
        path.write_bytes(whole)
    assert_equal(checkpoint.restore(workdir, 20, *TARGETS), make_state(20))


def test_metrics_changed_in_the_record_are_told(workdir):
    path = workdir / "checkpoints" / "10.json"
    assert json.loads(path.read_text())["metrics"] == {"accuracy": 0.5, "loss": 1.0}
    path.write_text(path.read_text().replace("0.5", "0.9"))
    assert checkpoint.best_step(workdir) is None
    with pytest.raises(DamagedCheckpoint, match=r"step 10 is damaged: .*/10\.json"):
        checkpoint.restore(workdir, 10, *TARGETS)


def test_the_record_of_another_step_does_not_pass(workdir):
    root = workdir / "checkpoints"
    shutil.copy(root / "20.json", root / "30.json")
    shutil.copytree(root / "20", root / "30")
    assert checkpoint.latest_step(workdir) == 20


def test_a_damaged_newest_step_is_set_aside_and_the_one_before_used(workdir, capsys):
    path = workdir / "checkpoints" / "20" / "variables" / "_METADATA"
    path.write_bytes(b"")
    found = checkpoint.restore_newest(workdir, *TARGETS)
    assert found is not None
    assert found[0] == 10
    assert_equal(found[1:], make_state(10))
    assert capsys.readouterr().out == (
        f"step 20 is damaged: {path}; it is set aside as 20.damaged\n"
    )
    assert names(workdir) == ["10", "10.json", "20.damaged", "20.damaged.json"]
    save(workdir, 20)
    assert names(workdir) == ["10", "10.json", "20", "20.damaged", "20.damaged.json", "20.json"]
    assert checkpoint.latest_step(workdir) == 20


def test_every_step_damaged_is_none(workdir):
    for path in (workdir / "checkpoints").glob("*.json"):
        path.write_text("{}")
    shutil.rmtree(workdir / "checkpoints" / "20")
    assert checkpoint.restore_newest(workdir, *TARGETS) is None
    assert checkpoint.latest_step(workdir) is None


def test_the_best_step_is_chosen_by_the_records_and_it_alone_is_verified(workdir, monkeypatch):
    save(workdir, 30, accuracy=0.4, loss=1.0)
    verified, whole = [], checkpoint.verify
    monkeypatch.setattr(
        checkpoint, "verify", lambda root, step: [verified.append(step), whole(root, step)]
    )
    assert checkpoint.best_step(workdir) == 10
    assert verified == [10]
    (workdir / "checkpoints" / "10" / "variables" / "_METADATA").write_bytes(b"")
    assert checkpoint.best_step(workdir) == 30
    assert verified == [10, 10, 30]


@pytest.mark.parametrize(
    ("error", "raised"), [(ValueError, UserError), (KeyError, UserError), (TypeError, TypeError)]
)
def test_a_mistake_in_a_call_is_not_blamed_on_the_files(saved, monkeypatch, error, raised):
    def fail(*args, **kwargs):
        raise error("no such layout")

    monkeypatch.setattr(checkpoint.ocp.Checkpointer, "restore", fail)
    sentence = "another version of orbax: .*no such" if raised is UserError else "no such layout"
    with pytest.raises(raised, match=sentence):
        checkpoint.restore(saved, 20, *TARGETS)


def test_an_empty_workdir_has_no_steps(tmp_path):
    assert checkpoint.latest_step(tmp_path) is None
    assert checkpoint.best_step(tmp_path) is None
    assert checkpoint.restore_newest(tmp_path, *TARGETS) is None
    assert list(tmp_path.iterdir()) == []


def test_what_killed_saves_left_does_not_count_and_is_removed_at_the_next_save(workdir):
    root = workdir / "checkpoints"
    shutil.copytree(root / "20", root / "30")
    shutil.copytree(root / "20", root / "40.orbax-checkpoint-tmp")
    (root / "30.json.tmp").write_text("{")
    (root / "notes.txt").write_text("the user's")
    assert checkpoint.latest_step(workdir) == 20
    with pytest.raises(DamagedCheckpoint, match="there is no step 30 in"):
        checkpoint.restore(workdir, 30, *TARGETS)
    save(workdir, 50)
    assert names(workdir) == sorted([*WITH_20, "50", "50.json", "notes.txt"])
    assert_equal(checkpoint.restore(workdir, 50, *TARGETS), make_state(50))


@pytest.mark.parametrize("call", ["orbax", "record", "replace"])
def test_a_save_that_dies_leaves_the_older_steps_and_the_next_save_works(
    workdir, monkeypatch, call
):
    class Killed(BaseException):
        pass

    def die(*args, **kwargs):
        raise Killed

    owner, name = {
        "orbax": (checkpoint.ocp.Checkpointer, "save"),
        "record": (checkpoint, "write_record"),
        "replace": (checkpoint.os, "replace"),
    }[call]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        with pytest.raises(Killed):
            save(workdir, 30)
    assert checkpoint.latest_step(workdir) == 20
    assert checkpoint.best_step(workdir) == 10
    assert_equal(checkpoint.restore(workdir, 20, *TARGETS), make_state(20))
    save(workdir, 30)
    assert names(workdir) == [*WITH_20, "30", "30.json"]


def test_all_files_are_on_the_disk_before_the_record_is_written(tmp_path, monkeypatch):
    events: list[Any] = []

    def noting(function: Any) -> Any:
        def call(*args: Any) -> None:
            events.append(args[0] if function is sync else "record")
            function(*args)

        return call

    sync, write_record = checkpoint.sync, checkpoint.write_record
    monkeypatch.setattr(checkpoint, "sync", noting(sync))
    monkeypatch.setattr(files, "sync", noting(sync))
    monkeypatch.setattr(checkpoint, "write_record", noting(write_record))
    save(tmp_path, 1)
    root = tmp_path / "checkpoints"
    before = events[: events.index("record")]
    assert {root, root / "1", *(root / "1").rglob("*")} <= set(before)
    assert events[len(before) + 1 :] == [root / "1.json.tmp", root]


def test_the_two_newest_and_the_best_are_kept(tmp_path):
    for step, metrics, kept in [
        (1, {}, [1]),
        (2, {"accuracy": 0.5, "loss": 2.0}, [1, 2]),
        (3, {"accuracy": 0.4, "loss": 0.1}, [2, 3]),
        (4, {}, [2, 3, 4]),
        (5, {"accuracy": 0.5, "loss": 1.5}, [4, 5]),
        (6, {"accuracy": 0.5, "loss": 1.6}, [5, 6]),
        (7, {}, [5, 6, 7]),
        (8, {}, [5, 7, 8]),
    ]:
        save(tmp_path, step, **metrics)
        assert names(tmp_path) == sorted([f"{s}{end}" for s in kept for end in ("", ".json")])
        assert checkpoint.latest_step(tmp_path) == step
    assert checkpoint.best_step(tmp_path) == 5


def test_the_newest_is_the_highest_number_not_the_last_in_the_alphabet(tmp_path):
    save(tmp_path, 9, accuracy=1.0, loss=0.0)
    save(tmp_path, 10)
    assert checkpoint.latest_step(tmp_path) == 10


def test_a_step_saved_again_is_replaced(workdir):
    checkpoint.save(workdir, 20, *make_state(21), {"accuracy": 0.9, "loss": 0.1})
    assert_equal(checkpoint.restore(workdir, 20, *TARGETS), make_state(21))
    assert names(workdir) == WITH_20


def test_a_step_is_judged_after_it_was_saved(workdir):
    assert checkpoint.read_metrics(workdir, 20) == {}
    save(workdir, 30)
    save(workdir, 40)
    verdict = {"accuracy": 0.9, "loss": 0.1}
    checkpoint.write_metrics(workdir, 30, verdict)
    assert checkpoint.read_metrics(workdir, 30) == verdict
    assert checkpoint.best_step(workdir) == 30
    assert names(workdir) == ["30", "30.json", "40", "40.json"]
    assert_equal(checkpoint.restore(workdir, 30, *TARGETS), make_state(30))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_state_that_is_not_finite_is_refused_before_anything_changes(workdir, value):
    (workdir / "checkpoints" / "30.orbax-checkpoint-tmp").mkdir()  # a save would remove it
    for part, keys, name in [
        (0, ("params", "head", "bias"), "params/head/bias"),
        (1, ("extra",), "extra"),
    ]:
        state = make_state(20)
        tree = state[part]
        for key in keys[:-1]:
            tree = tree[key]
        spoilt = np.zeros(5, jnp.bfloat16)
        spoilt[-1] = value
        tree[keys[-1]] = jax.device_put(spoilt, REPLICATED)
        with pytest.raises(UserError, match=f"step 20 is not saved: {name} is not finite; start"):
            checkpoint.save(workdir, 20, *state, {})
    assert names(workdir) == ["10", "10.json", "20", "20.json", "30.orbax-checkpoint-tmp"]
    assert_equal(checkpoint.restore(workdir, 20, *TARGETS), make_state(20))


def test_a_workdir_that_vanished_is_told(tmp_path):
    sentence = r"cannot save step 1 in .*gone/checkpoints \(\d+ MiB free\): .*No such"
    with pytest.raises(UserError, match=sentence):
        save(tmp_path / "gone", 1)


def test_a_step_that_there_is_no_room_to_replace_stands(workdir, monkeypatch):
    def full(*args):
        raise OSError

    monkeypatch.setattr(checkpoint, "reserve", full)
    with pytest.raises(UserError, match=r"cannot save step 20 in .* MiB free\): OSError$"):
        save(workdir, 20)
    assert_equal(checkpoint.restore(workdir, 20, *TARGETS), make_state(20))


def test_metrics_that_are_not_finite_are_refused_and_nothing_is_lost(workdir):
    with pytest.raises(UserError, match=r"cannot save step 30 in .* JSON compliant"):
        save(workdir, 30, accuracy=float("nan"), loss=1.0)
    assert checkpoint.latest_step(workdir) == 20
    assert checkpoint.best_step(workdir) == 10


def test_a_full_disk_is_told_and_the_older_steps_stand(workdir):
    variables, training = make_state(30)
    noise = np.random.default_rng(0).normal(size=(1000, 1000)).astype(np.float32)
    variables["params"]["large"] = jax.device_put(noise, ONE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot save step 30 in .*checkpoints \(\d+ MiB free"):
            checkpoint.save(workdir, 30, variables, training, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(workdir) == ["10", "10.json", "20", "20.json"]
    assert_equal(checkpoint.restore(workdir, 20, *TARGETS), make_state(20))
    checkpoint.save(workdir, 30, variables, training, {})
    assert names(workdir) == [*WITH_20, "30", "30.json"]


def test_a_disk_that_fills_up_during_the_save_is_told_in_one_line(workdir, monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("OUT_OF_RANGE: Error writing\nmore of it")

    monkeypatch.setattr(checkpoint.ocp.Checkpointer, "save", fail)
    with pytest.raises(UserError, match=r"cannot save step 30 in .*: OUT_OF_RANGE: Error writing$"):
        save(workdir, 30)
    assert_equal(checkpoint.restore(workdir, 20, *TARGETS), make_state(20))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda params, leaf: params["head"].update(bias=leaf((6,))),
            r"has params/head/bias of float32\(5,\), but this network has it of float32\(6,\)",
        ),
        (
            lambda params, leaf: params["head"].update(bias=leaf((5,), jnp.bfloat16)),
            r"has params/head/bias of float32\(5,\), but this network has it of bfloat16\(5,\)",
        ),
        (
            lambda params, leaf: params["head"].update(scale=leaf((5,))),
            "has no params/head/scale, which this network has",
        ),
        (
            lambda params, leaf: params["head"].pop("bias"),
            "has params/head/bias, which this network has not",
        ),
    ],
    ids=["shape", "dtype", "extra", "missing"],
)
def test_another_network_is_refused_by_the_name_of_its_leaf(saved, change, sentence):
    target = jax.tree.map(lambda leaf: leaf, TARGETS[0])
    change(
        target["params"],
        lambda shape, dtype=jnp.float32: jax.ShapeDtypeStruct(shape, dtype, sharding=REPLICATED),
    )
    for restore in (
        lambda: checkpoint.restore(saved, 20, target),
        lambda: checkpoint.restore_newest(saved, target, TARGETS[1]),
    ):
        with pytest.raises(UserError, match=sentence) as error:
            restore()
        assert not isinstance(error.value, DamagedCheckpoint)
    assert names(saved) == ["10", "10.json", "20", "20.json"]


def test_another_optimizer_is_refused(saved):
    training = {"opt_state": optax.sgd(0.1, momentum=0.9).init(TARGETS[0]["params"])}
    target = abstract(jax.eval_shape(lambda: jax.tree.map(jnp.zeros_like, training)))
    with pytest.raises(
        UserError, match="has no opt_state/0/trace/head/bias, which this network has"
    ):
        checkpoint.restore(saved, 20, TARGETS[0], target)
