#!/bin/sh
# pyvips 3.2.0: Image.new_from_buffer() and Image.tiffload_buffer() copy the whole buffer before they
# read a pixel; Source.new_from_memory() and Image.new_from_source() read it where it is.
#
# One would expect that a library which is chosen to stream images larger than memory takes a buffer
# as it is: numpy.frombuffer and Pillow with BytesIO do, and so does pyvips for the pixels of
# new_from_memory. A 1.8 GB TIFF in a memory map, of which 300 rows are wanted, needs 1.8 GB of
# memory, and 0.1 GB through a source.
# Remedy: Image.new_from_source(Source.new_from_memory(content), "").
#
# Seen, with Python 3.12:
#   pyvips 3.2.0, libvips 8.18.7, a TIFF of 240 MB in memory
#   new_from_buffer: 240 MB more
#   new_from_source: 0 MB more
#
# Exits with 0 if this is still so, 1 if it changed, 2 if nothing could be installed: it needs Python
# 3.12 or newer (PYTHON=/path/to/it if python3 is older), and Linux.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q pyvips==3.2.0 pyvips-binary==8.18.7 tifffile==2026.11.8 \
	numpy==2.5.5 || exit 2
"$folder/venv/bin/python" - "$folder/picture.tif" <<'PY' || exit 1
import sys

import numpy as np
import tifffile

tifffile.imwrite(sys.argv[1], np.zeros((8000, 10000, 3), np.uint8), photometric="rgb", rowsperstrip=16)
PY
for way in new_from_buffer new_from_source; do
	"$folder/venv/bin/python" - "$way" "$folder/picture.tif" <<'PY' || exit 1
import resource
import sys
from importlib.metadata import version

import pyvips

way, path = sys.argv[1:]
with open(path, "rb") as file:
    content = file.read()
if way == "new_from_buffer":
    print(f"pyvips {version('pyvips')}, libvips {version('pyvips-binary')}, ", end="")
    print(f"a TIFF of {len(content) / 1e6:.0f} MB in memory")


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


before = peak()
if way == "new_from_buffer":
    image = pyvips.Image.new_from_buffer(content, "", access="sequential")
else:
    image = pyvips.Image.new_from_source(pyvips.Source.new_from_memory(content), "", access="sequential")
more = peak() - before
print(f"{way}: {round(more, -1):.0f} MB more")
sys.exit((more > 200) != (way == "new_from_buffer"))
PY
done
