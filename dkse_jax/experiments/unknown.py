"""Measures how well unknown pictures are distinguished from known ones.

python -m dkse_jax.experiments.unknown --workdir=W [--root=FOLDER]

Known are the run's test pictures; unknown are text pages, blank scans and photographs (see
`unknown_pictures`), each kind by itself. With --root, each class of that folder in turn is left out
of a training with the run's config, and is unknown to it; these runs are in W/unknown, where the
command goes on after a kill. Writes W/unknown/table.md.
"""

import csv
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from jax.sharding import Mesh
from ml_collections import ConfigDict

from dkse_jax import cli, markdown, runtime
from dkse_jax.console import say
from dkse_jax.data.sources import Source, load_all, load_splits, subset
from dkse_jax.errors import UserError
from dkse_jax.evaluation.calibrate import answers
from dkse_jax.evaluation.calibration import calibrated, group_indices
from dkse_jax.evaluation.run import choose_source
from dkse_jax.experiments import unknown_pictures
from dkse_jax.files import explain_disk_errors, replacing, write_atomically
from dkse_jax.prediction.judging import LIMIT, Calibrated, load_judge
from dkse_jax.trained import load
from dkse_jax.training.loop import train
from dkse_jax.workdir.checkpoint_digest import digest_of_step

FLAGS = flags.FlagValues()  # of this command alone: other commands have flags of these names
WORKDIR = cli.define_path(
    "workdir", None, "The workdir of a calibrated run.", required=True, flag_values=FLAGS
)
ROOT = cli.define_path(
    "root", None, "A folder of images whose classes are left out in turn.", flag_values=FLAGS
)
SAMPLES = 1000  # resamplings for an interval
_HEADER = ("unknown", "pictures", "of", "AUROC", "95 %", "by p", "by distance", "refused")


class Doubts(NamedTuple):
    """The doubts about N pictures, larger for unknown ones: by p, by distance, and the larger."""

    by_p: np.ndarray
    by_distance: np.ndarray
    both: np.ndarray
    groups: Sequence[str]


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Computes the probability that an unknown picture is doubted more than a known one.

    Args:
        known: (N,) doubts; an equal doubt counts half.
        unknown: (M,) doubts.
    """
    ordered = np.sort(known)
    below, up_to = (np.searchsorted(ordered, unknown, side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(known)))


def auroc_interval(known: Doubts, unknown: Doubts, seed: int = 0) -> tuple[float, float]:
    """Computes the 95 % percentile interval of `auroc` by a bootstrap of whole groups of both.

    Args:
        known: of the known pictures.
        unknown: of the unknown ones.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for doubts in (known, unknown):
        index = group_indices(doubts.groups)
        groups = int(index.max()) + 1
        draws = rng.multinomial(groups, [1 / groups] * groups, size=SAMPLES)
        parts.append((doubts.both, draws[:, index]))
    (ours, our_weights), (theirs, their_weights) = parts
    order = np.argsort(ours, kind="stable")
    below, up_to = (np.searchsorted(ours[order], theirs, side) for side in ("left", "right"))
    values = []
    for own, other in zip(our_weights[:, order], their_weights, strict=True):
        sums = np.concatenate([[0], np.cumsum(own)])
        values.append(((sums[below] + sums[up_to]) * other).sum() / (2 * own.sum() * other.sum()))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def row(name: str, known: Doubts, unknown: Doubts) -> list[str]:
    """Returns the cells of a table's row: see _HEADER."""
    low, high = auroc_interval(known, unknown)
    return [
        name,
        f"{len(unknown.both):,}",
        f"{len(set(unknown.groups)):,}",
        f"{auroc(known.both, unknown.both):.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{auroc(known.by_p, unknown.by_p):.3f}",
        f"{auroc(known.by_distance, unknown.by_distance):.3f}",
        f"{(unknown.both > 1).mean():.1%}",
    ]


def measure(workdir: Path, root: Path | None, mesh: Mesh) -> str:
    """Measures a run, and with a root the turns of its classes; returns the table.

    Raises:
        UserError: there is no run, it is uncalibrated, or an error of `train`.
    """
    network = _Network(workdir, mesh)
    known = network.doubts_of_test()
    rows = [row("known (test)", known, known)]
    for name, make in unknown_pictures.sources().items():
        rows.append(row(name, known, network.doubts_of_pictures(*make())))
    if root is not None:
        rows += _turns(network.trained.config, root, workdir / "unknown", mesh)
    return f"{markdown.table(_HEADER, rows, range(1, 8))}\n\n{network.remark}\n\n{LIMIT}.\n"


def _turns(config: ConfigDict, root: Path, folder: Path, mesh: Mesh) -> Iterator[list[str]]:
    """Trains without each class in turn, and yields the row of that class."""
    data = config.data.copy_and_resolve_references().unlock()
    data.source, data.root = "folder", str(root)
    splits = load_splits(data, config.seed)
    names = splits["train"].class_names
    whole = load_all(str(root), names, data.colour_profiles)
    for label, name in enumerate(names):
        turn = folder / f"without-{label}"
        rest, workdir = turn / "pictures", turn / "run"
        if not rest.exists():
            _link_rest(splits, label, root, rest)
        changed = config.copy_and_resolve_references().unlock()
        changed.update_from_flattened_dict({"data.source": "folder", "data.root": str(rest)})
        train(changed.lock(), workdir, mesh)
        network = _Network(workdir, mesh)
        unknown = network.doubts(subset(whole, np.flatnonzero(whole.labels == label)))
        yield row(f"class {name}", network.doubts_of_test(), unknown)


def _link_rest(splits: Mapping[str, Source], label: int, root: Path, folder: Path) -> None:
    """Makes a folder with the pictures of all classes but one, hard links or copies."""
    rows = [
        (example, split.class_names[own], group, name)
        for name, split in splits.items()
        for example, own, group in zip(split.ids, split.labels, split.groups, strict=True)
        if own != label
    ]
    with (
        explain_disk_errors("cannot copy the pictures to", folder),
        replacing(_made(folder.parent) / folder.name) as draft,
    ):
        shutil.rmtree(draft, ignore_errors=True)  # of a start that was killed
        draft.mkdir()
        for example, *_ in rows:
            place = _made((draft / example).parent) / Path(example).name
            try:
                os.link(root / example, place)
            except OSError:  # another disk, or no links there
                shutil.copyfile(root / example, place)
        with (draft / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("file_name", "label", "group", "split"), *rows])


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class _Network:
    """The weights of a calibrated run, and how much they doubt pictures."""

    def __init__(self, workdir: Path, mesh: Mesh):
        self.trained = load(workdir, mesh=mesh)
        weights = digest_of_step(self.trained.workdir, self.trained.step)
        judge = load_judge(workdir, weights, self.trained.class_names)
        if not isinstance(judge, Calibrated):
            raise UserError(f"{workdir} cannot be measured: {judge.remark}")
        self.judge, self.remark = judge, judge.remark

    def doubts_of_test(self) -> Doubts:
        """Returns the doubts about the run's own test pictures."""
        return self.doubts(choose_source(self.trained, "test", None)[1])

    def doubts_of_pictures(self, images: list[np.ndarray], groups: list[str]) -> Doubts:
        """Returns the doubts about uint8 (H, W, 3) images of no class."""
        labels = np.zeros(len(images), np.int32)
        ids = tuple(map(str, range(len(images))))
        names = self.trained.class_names
        return self.doubts(Source(names, ids, labels, groups, lambda i, _: images[i]))

    def doubts(self, source: Source) -> Doubts:
        """Returns the doubts about a source's pictures."""
        log_probabilities, features = answers(self.trained, source, "looking at pictures")
        p = calibrated(log_probabilities, self.judge.fitted.temperature)
        by_distance = self.judge.fitted.distance.of(features)
        both = self.judge.doubt(p, features)
        return Doubts(1 - p.max(axis=1), by_distance, both, source.groups)


def main() -> None:
    """Measures, prints and writes the table."""
    runtime.configure()
    workdir = Path(WORKDIR.value)
    text = measure(workdir, Path(ROOT.value) if ROOT.value else None, runtime.default_mesh())
    with explain_disk_errors("cannot write to", workdir):
        write_atomically(_made(workdir / "unknown") / "table.md", text)
    say(text)


if __name__ == "__main__":
    cli.run(main, FLAGS)
