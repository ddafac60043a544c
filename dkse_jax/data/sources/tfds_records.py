"""Records of a data set of TensorFlow Datasets, with the files that hold them."""

import bisect
import concurrent.futures
import importlib.util
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dkse_jax.errors import UserError, refuse
from dkse_jax.files import reason_of

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

FORMAT = "array_record"
_REMEDY = "prepare the data set again"
_PACKAGES = ("array_record", "tensorflow_datasets")  # the first is not there for Windows


class Joined(Sequence[Mapping[str, Any]]):
    """The concatenation of several sequences of records."""

    def __init__(self, parts: Sequence[Sequence[Mapping[str, Any]]]):
        self._parts = parts
        self._ends = list(itertools.accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index):
        part = bisect.bisect_right(self._ends, index)
        return self._parts[part][index - self._ends[part] + len(self._parts[part])]


class Records(Sequence[Mapping[str, Any]]):
    """The records of a split; raises UserError for a damaged one, with the name of its file.

    Args:
        records: a data source of TensorFlow Datasets.
        instructions: the stretches of files that hold the records, in order.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]], instructions: Sequence[Any]):
        self._records = records
        self._files = [str(instruction.filename) for instruction in instructions]
        self._ends = list(itertools.accumulate(part.take for part in instructions))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        try:
            return self._records[index]
        except Exception as error:  # what the reader raises can be anything
            file = self._files[bisect.bisect_right(self._ends, index)]
            refuse(f'"{file}" is damaged, or gone since the start: {reason_of(error)}; {_REMEDY}')


def check_installed() -> None:
    """Raises UserError without the packages that read and write records."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        refuse(
            f"records need the package {' and '.join(missing)}, which this Python lacks (there is"
            " no array_record for Windows): use a folder of images"
        )


def check_format(builder: "tfds.core.DatasetBuilder") -> None:
    """Raises UserError unless the data set can be read without TensorFlow, slice by slice."""
    found = builder.info.file_format
    name = getattr(found, "value", found)
    if name != FORMAT:
        raise UserError(
            f'"{builder.name}" in "{builder.data_dir}" is in the format {name}, of which slices'
            " can only be read with TensorFlow: prepare it again, in another data_dir, with"
            f' file_format="{FORMAT}"'
        )


def open_records(
    builder: "tfds.core.DatasetBuilder", field: str, expression: str, decoders: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
    """Opens the records of a split.

    Args:
        builder: one that passes `check_format`.
        field: that has the expression, for the sentences.
        expression: a split or slice, such as "train[:80%]"; "" for no records.
        decoders: of `as_data_source`.

    Raises:
        UserError: a file that is missing, cut off or longer than written, or another number of
            records than the data set promises.
    """
    if not expression:
        return ()
    split = builder.info.splits[expression]
    with concurrent.futures.ThreadPoolExecutor(16) as executor:  # remote answers are slow
        files = {part.filename: part.examples_in_shard for part in split.file_instructions}
        for sentence in filter(None, executor.map(_mistake_of, files, files.values())):
            refuse(sentence)
    records = builder.as_data_source(split=expression, decoders=decoders)
    if len(records) != split.num_examples:
        refuse(
            f'{field}="{expression}" gives {len(records):,} records, but {builder.name} promises'
            f" {split.num_examples:,}: {_REMEDY}"
        )
    return Records(records, split.file_instructions)


def _mistake_of(file: Any, promised: int) -> str:
    """Returns a sentence about a file without the promised records; "" for an intact one."""
    from array_record.python import array_record_module

    try:
        reader = array_record_module.ArrayRecordReader(str(file))
        found = reader.num_records()
        if not reader.ok():  # the reason is only known to those who read
            reader.read([0])
    except Exception as error:
        return f'"{file}" is damaged or missing: {reason_of(error)}; {_REMEDY}'
    if found != promised:
        return f'"{file}" is damaged: it has {found:,} records instead of {promised:,}; {_REMEDY}'
    return ""
