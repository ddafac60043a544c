"""From pictures to rows: batches of one shape, and what is made of the network's answers."""

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from dkse_jax.inference import mean_log_probabilities, mean_of_views
from dkse_jax.prediction.journal import UNREAD
from dkse_jax.prediction.judge import Judge
from dkse_jax.prediction.reading import Read
from dkse_jax.prediction.row import DECIMALS, Row
from dkse_jax.trained import Trained

FIRST, LATER = 1.0, 10.0  # seconds after which a batch is sent as it is, padded
MOST = 8  # the files of a group, where most cannot be read, are at most MOST batches


def grouped(pictures: Iterable[Read], squares: int) -> Iterator[list[Read]]:
    """Yields the pictures in groups of at least `squares` squares, fewer if reading is slow."""
    group: list[Read] = []
    count, begun, limit = 0, time.monotonic(), FIRST
    for picture in pictures:
        group.append(picture)
        count += len(picture.views)
        slow = time.monotonic() - begun > limit
        if count >= squares or len(group) >= MOST * squares or slow:
            yield group
            group, count, begun, limit = [], 0, time.monotonic(), LATER
    if group:
        yield group


def rows_of(
    pictures: Iterable[Read], trained: Trained, judge: Judge, batch_size: int
) -> Iterator[list[Row]]:
    """Yields the rows of the pictures, in order, group by group.

    A picture's numbers are the same to the bit whatever else is in its batch: each batch has the
    same shape, padded with zeros, and every picture is answered by itself after the network.
    """
    for group in grouped(pictures, batch_size):
        answers = _answers(np.concatenate([one.views for one in group]), trained, batch_size)
        ends = np.cumsum([len(one.views) for one in group])
        slices = [slice(end - len(one.views), end) for one, end in zip(group, ends, strict=True)]
        yield [
            _row(picture, [part[own] for part in answers], trained, judge)
            for picture, own in zip(group, slices, strict=True)
        ]


def _answers(squares: np.ndarray, trained: Trained, batch_size: int) -> list[np.ndarray]:
    """Returns the log-probabilities (N, K) and features (N, C) of uint8 (N, S, S, 3)."""
    parts = []
    for start in range(0, len(squares), batch_size):
        some = squares[start : start + batch_size]
        padding = np.zeros((batch_size - len(some), *some.shape[1:]), np.uint8)
        both = trained.answers(np.concatenate([some, padding]))
        parts.append([np.asarray(part)[: len(some)] for part in both])
    return [np.concatenate(pair) for pair in zip(*parts, strict=True)] or [squares, squares]


def _row(picture: Read, answers: Sequence[np.ndarray], trained: Trained, judge: Judge) -> Row:
    item, stamp = picture.item, picture.item.stamp if picture.opened else UNREAD
    if not len(picture.views):
        return _failed(item.file, picture.note, stamp)
    log_probabilities, features = answers
    if len(picture.views) > 1:
        log_probabilities = mean_log_probabilities(log_probabilities)[None]
        features = mean_of_views(features)[None]
    found = judge(log_probabilities, features)
    p = found.probabilities[0]
    if not np.isfinite(p).all():
        return _failed(item.file, "the network gives no finite number for it", stamp)
    names = trained.class_names
    return Row(
        file=item.file,
        status="ok",
        class_name=names[int(p.argmax())],
        probabilities=tuple(round(float(value), DECIMALS) for value in p),
        known="" if found.known is None else ("no", "yes")[bool(found.known[0])],
        prediction_set=()
        if found.sets is None
        else tuple(name for name, inside in zip(names, found.sets[0], strict=True) if inside),
        note=picture.note,
        stamp=stamp,
    )


def _failed(file: str, reason: str, stamp: str) -> Row:
    return Row(file, "failed", "", (), "", (), reason, stamp)
