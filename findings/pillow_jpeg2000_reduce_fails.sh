#!/bin/sh
# Pillow 13.0.0 cannot decode a JPEG 2000 at a quarter of its size, or less, for many sizes.
#
# The attribute `reduce` is documented to skip resolution levels. Pillow expects width and height
# rounded to the nearest number, but a level of JPEG 2000 has them rounded up. Where the two differ,
# as for a width of 33 at a quarter (8 and 9), a good file is "broken data stream when reading image
# file". At half of the size they never differ.
# Remedy: set the size of the image and of its tile to the numbers that are rounded up.
#
# Seen, with Python 3.12:
#   pillow 13.0.0
#   read at 1/2: 32 of 32 widths
#   read at 1/4: 24 of 32 widths
#   read at 1/8: 20 of 32 widths
#
# Exits with 0 if this is still so, 1 if it changed, 2 if nothing could be installed: it needs Python
# 3.12 or newer (PYTHON=/path/to/it if python3 is older).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q pillow==13.0.0 || exit 2
"$folder/venv/bin/python" - <<'PY' || exit 1
import io
import sys
from importlib.metadata import version

from PIL import Image

print("pillow", version("pillow"))
read = {1: 0, 2: 0, 3: 0}
for width in range(65, 97):
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, 64)).save(buffer, "JPEG2000")
    for levels in read:
        with Image.open(io.BytesIO(buffer.getvalue())) as image:
            image.reduce = levels
            try:
                image.load()
                read[levels] += 1
            except OSError:
                pass
for levels, count in read.items():
    print(f"read at 1/{2**levels}: {count} of 32 widths")
sys.exit(read != {1: 32, 2: 24, 3: 20})
PY
