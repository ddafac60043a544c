#!/bin/sh
# tensorflow-datasets 4.9.10: as_data_source of a data set in the parquet format gives the whole
# split for every slice.
#
# One would expect "train[:70%]", "train[70%:80%]" and "train[80%:]" to be three disjoint parts, as
# they are in the array_record format and as builder.info says. With parquet, all three have all
# examples: who trains on the first and evaluates on the last evaluates on the training data, and
# nothing warns. The error message for formats without random access recommends parquet.
# Remedy: prepare with file_format="array_record", and compare len(source) with
# builder.info.splits[expression].num_examples.
#
# Seen, with Python 3.12:
#   tensorflow-datasets 4.9.10
#   array_record train[:70%]     promised 14, found 14
#   array_record train[70%:80%]  promised  2, found  2
#   array_record train[80%:]     promised  4, found  4
#   parquet      train[:70%]     promised 14, found 20
#   parquet      train[70%:80%]  promised  2, found 20
#   parquet      train[80%:]     promised  4, found 20
#
# Exits with 0 if this is still so, 1 if it changed, 2 if nothing could be installed: it needs Python
# 3.12 or newer (PYTHON=/path/to/it if python3 is older).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q tensorflow-datasets==4.9.10 array_record==0.8.6 \
    pyarrow==26.0.1 2>/dev/null || exit 2
"$folder/venv/bin/python" - "$folder" 2>/dev/null <<'PY' || exit 1
import sys
from importlib.metadata import version

import numpy as np
import tensorflow_datasets as tfds


class Numbers(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"x": tfds.features.Scalar(np.int64)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(20):
            yield i, {"x": i}


print("tensorflow-datasets", version("tensorflow-datasets"))
found = {}
for file_format in ("array_record", "parquet"):
    builder = Numbers(data_dir=f"{sys.argv[1]}/{file_format}", file_format=file_format)
    builder.download_and_prepare()
    for split in ("train[:70%]", "train[70%:80%]", "train[80%:]"):
        promised = builder.info.splits[split].num_examples
        found[file_format, split] = length = len(builder.as_data_source(split=split))
        print(f"{file_format:12} {split:15} promised {promised:2}, found {length:2}")
sliced = [found["array_record", s] for s in ("train[:70%]", "train[70%:80%]", "train[80%:]")]
whole = [found["parquet", s] for s in ("train[:70%]", "train[70%:80%]", "train[80%:]")]
sys.exit(0 if sliced == [14, 2, 4] and whole == [20, 20, 20] else 1)
PY
