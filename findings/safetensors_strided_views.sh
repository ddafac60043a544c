#!/bin/sh
# safetensors 0.8.0 writes the memory of a NumPy view, not the values of the view.
#
# One would expect save_file to write the array that it is given, or to refuse what is not
# contiguous, as safetensors.torch does. A transposed or a strided view is saved without
# a word, under its own shape, and loads with other values. Weights are transposed whenever layouts
# are converted between frameworks, so every second conversion script is a candidate.
# Remedy: numpy.ascontiguousarray before saving.
#
# Seen, with Python 3.12:
#   safetensors 0.8.0
#   transposed: saved [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], loaded [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]: WRONG
#   every second column: saved [[0.0, 2.0], [3.0, 5.0]], loaded [[0.0, 1.0], [2.0, 3.0]]: WRONG
#
# Exits with 0 if this is still so, 1 if it changed, 2 if nothing could be installed: it needs Python
# 3.12 or newer (PYTHON=/path/to/it if python3 is older).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q safetensors==0.8.0 numpy==2.5.5 || exit 2
"$folder/venv/bin/python" - "$folder" <<'PY' || exit 1
import sys
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load_file, save_file

path = f"{sys.argv[1]}/x.safetensors"
x = np.arange(6, dtype=np.float32).reshape(2, 3)
views = {"transposed": x.T, "every second column": x[:, ::2]}
print("safetensors", version("safetensors"))
wrong = 0
for name, view in views.items():
    try:
        save_file({"x": view}, path)
    except Exception as error:
        print(f"{name}: refused, {type(error).__name__}: {error}")
        continue
    loaded = load_file(path)["x"]
    same = np.array_equal(loaded, view)
    wrong += not same
    print(f"{name}: saved {view.tolist()}, loaded {loaded.tolist()}: {'equal' if same else 'WRONG'}")
sys.exit(0 if wrong else 1)
PY
