#!/bin/sh
# Pillow 13.0.0 reads white as black in a JPEG 2000 of RGB with 16 bits: 65535 becomes 0.
#
# One would expect 16 bits to be cut to 8, as Pillow does with TIFF and PNG. The decoder adds half a
# step before it shifts, without a limit, so that everything from 65408 up wraps round to 0. All
# other numbers are right, and nothing is reported. Grey of 16 bits is right, as it stays of 16 bits.
# Remedy: decode a second time, with more bits written into the SIZ marker, and see which 0 is white.
#
# Seen, with Python 3.12:
#   pillow 13.0.0
#   65535 -> (0, 0, 0)
#   65408 -> (0, 0, 0)
#   65407 -> (255, 255, 255)
#   0 -> (0, 0, 0)
#
# Exits with 0 if this is still so, 1 if it changed, 2 if nothing could be installed: it needs Python
# 3.12 or newer (PYTHON=/path/to/it if python3 is older).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q pillow==13.0.0 imagecodecs==2026.10.10 numpy==2.5.5 || exit 2
"$folder/venv/bin/python" - <<'PY' || exit 1
import io
import sys
from importlib.metadata import version

import imagecodecs
import numpy as np
from PIL import Image

print("pillow", version("pillow"))
seen = []
for value in (65535, 65408, 65407, 0):
    pixels = np.full((8, 8, 3), value, np.uint16)
    content = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True)
    with Image.open(io.BytesIO(content)) as image:
        seen.append(image.getpixel((0, 0)))
    print(value, "->", seen[-1])
sys.exit(seen != [(0, 0, 0), (0, 0, 0), (255, 255, 255), (0, 0, 0)])
PY
