"""Defects that the suite must notice: each function plants one in the product.

A test that is given a saboteur must fail under it (see `runs.must_fail`).
"""

import contextlib
import os
import random


def start_step_ignored() -> None:
    """A resumed run sees the batches of the beginning once more."""
    from dkse_jax.training import loop

    whole = loop.training_batches

    def batches(source, config, *, first_step, last_step, **named):
        return whole(source, config, first_step=1, last_step=last_step - first_step + 1, **named)

    loop.training_batches = batches


def digest_skipped() -> None:
    """A checkpoint is used as it is found."""
    from dkse_jax.workdir import checkpoint

    checkpoint.verify = lambda root, step: None


def optimizer_forgotten() -> None:
    """The momentum is not saved."""
    import jax
    import jax.numpy as jnp

    from dkse_jax.training import loop

    whole = loop.training_part

    def training_part(state):
        part = whole(state)
        zeros = jax.tree.map(
            lambda leaf: leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jnp.zeros_like(leaf),
            part["opt_state"],
        )
        return part | {"opt_state": zeros}

    loop.training_part = training_part


def listing_shuffled() -> None:
    """os.scandir and os.listdir give names in any order, as file systems may."""

    shuffled = random.Random(0)
    listdir, scandir = os.listdir, os.scandir

    def in_any_order(entries):
        entries = list(entries)
        shuffled.shuffle(entries)
        return entries

    os.listdir = lambda path=".": in_any_order(listdir(path))
    os.scandir = lambda path=".": _Entries(in_any_order(scandir(path)))


class _Entries(list):
    """What os.scandir gives: a context manager too."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def signals_unheard() -> None:
    """Signals are looked for between two steps only."""
    from dkse_jax import interrupts

    interrupts.interruptible = contextlib.nullcontext


def failed_saves_unnoticed() -> None:
    """A save that fails is passed over."""
    from dkse_jax.errors import UserError
    from dkse_jax.workdir import checkpoint

    whole = checkpoint.save

    def save(*arguments):
        with contextlib.suppress(UserError):
            whole(*arguments)

    checkpoint.save = save


def lock_forgotten() -> None:
    """Nobody asks whether another run is at work."""

    from dkse_jax import files

    files._take = lambda descriptor, workdir: None


def remainder_dropped() -> None:
    """The last batch, which is not full, is left out, and so is the check of the count."""
    from dkse_jax import inference

    whole = inference.evaluation_batches

    def batches(*arguments, **named):
        batches = list(whole(*arguments, **named))
        return batches[:-1] if len(batches) > 1 and not batches[-1]["real"].all() else batches

    inference.evaluation_batches = batches


def padding_counted() -> None:
    """What fills up the last batch counts as examples."""
    from dkse_jax import inference

    whole = inference.evaluation_batches

    def batches(*arguments, **named):
        for batch in whole(*arguments, **named):
            yield batch | {"real": batch["real"] | True}

    inference.evaluation_batches = batches


def rows_of_the_other() -> None:
    """Each of two processes reads the half of a batch that is the other's."""
    from dkse_jax import sharding

    whole = sharding.local_indices
    sharding.local_indices = lambda mesh, size: (whole(mesh, size) + size // 2) % size


def rows_forgotten() -> None:
    """A prediction that goes on does not look for the rows that are on the disk."""
    from dkse_jax.prediction.journal import Journal

    Journal.index = lambda self, item: -1


def failed_rows_dropped() -> None:
    """A file that cannot be read has no row."""
    from dkse_jax.prediction import run

    whole = run.streamed

    @contextlib.contextmanager
    def streamed(*arguments):
        with whole(*arguments) as write:
            yield lambda row: write(row) if row.status == "ok" else None

    run.streamed = streamed


def next_row_instead() -> None:
    """A file that cannot be read has the numbers of the file before it."""
    import dataclasses

    from dkse_jax.prediction import run

    whole = run.rows_of

    def rows_of(*arguments):
        last = None
        for rows in whole(*arguments):
            named = []
            for row in rows:
                if row.status == "ok" or last is None:
                    last = row
                named.append(dataclasses.replace(last, file=row.file, stamp=row.stamp))
            yield named

    run.rows_of = rows_of
