#!/bin/sh
# jax 0.12.0.1: Exported.serialize() and jax.export.deserialize() need the package flatbuffers, which
# jax neither requires nor offers as an extra.
#
# One would expect a public function of jax to run in an environment that holds jax. Exporting works
# and the ImportError comes at the end, when the program is to be written, or on the machine that is
# to load it.
# Remedy: depend on flatbuffers oneself.
#
# Seen, with Python 3.12:
#   jax 0.12.0.1
#   required: []
#   serialize: ImportError Please install 'flatbuffers' in order to use Exported serialization
#
# Exits with 0 if this is still so, 1 if it changed, 2 if nothing could be installed: it needs Python
# 3.12 or newer (PYTHON=/path/to/it if python3 is older).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q jax==0.12.0.1 jaxlib==0.12.0.1 || exit 2
"$folder/venv/bin/python" - <<'PY' || exit 1
import sys
from importlib.metadata import metadata, version

import jax
import jax.numpy as jnp

print("jax", version("jax"))
print("required:", [name for name in metadata("jax").get_all("Requires-Dist") if "flatbuffers" in name])
exported = jax.export.export(jax.jit(jnp.sin))(jax.ShapeDtypeStruct((3,), jnp.float32))
try:
    exported.serialize()
except ImportError as error:
    print("serialize:", type(error).__name__, error)
    sys.exit(0)
print("serialize: works")
sys.exit(1)
PY
