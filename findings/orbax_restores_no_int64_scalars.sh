#!/bin/sh
# orbax-checkpoint 0.12.8 saves a NumPy scalar, and refuses the very same tree as the target of
# restoring it.
#
# One would expect that restore(step, tree) takes every tree that save(step, tree) took. A step
# counter or a best value kept as np.int64 or np.float32 is saved without a word, so the mistake
# shows when the checkpoint is needed. Python numbers and 0-d arrays are restored.
# Remedy: int(...), or numpy.asarray, in the state.
#
# Seen, with Python 3.12:
#   orbax-checkpoint 0.12.8
#   int: restored as 7
#   0-d array: restored as array(7)
#   np.int64: saved, not restored: ValueError: Unsupported type: <class 'numpy.int64'> for key: ('x',).
#   np.float32: saved, not restored: ValueError: Unsupported type: <class 'numpy.float32'> for key: ('x',).
#
# Exits with 0 if this is still so, 1 if it changed, 2 if nothing could be installed: it needs Python
# 3.12 or newer (PYTHON=/path/to/it if python3 is older).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q orbax-checkpoint==0.12.8 jax==0.12.0.1 jaxlib==0.12.0.1 || exit 2
"$folder/venv/bin/python" - "$folder" 2>/dev/null <<'PY' || exit 1
import sys
from importlib.metadata import version

import numpy as np
import orbax.checkpoint as ocp

print("orbax-checkpoint", version("orbax-checkpoint"))
leaves = {"int": 7, "0-d array": np.asarray(7), "np.int64": np.int64(7), "np.float32": np.float32(7)}
refused = []
for name, leaf in leaves.items():
    path, tree = f"{sys.argv[1]}/{name.replace(' ', '_')}", {"x": leaf}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)
        checkpointer.wait_until_finished()
        try:
            print(f"{name}: restored as {checkpointer.restore(path, tree)['x']!r}")
        except Exception as error:
            refused.append(name)
            print(f"{name}: saved, not restored: {type(error).__name__}: {str(error)[:100]}")
sys.exit(0 if refused == ["np.int64", "np.float32"] else 1)
PY
