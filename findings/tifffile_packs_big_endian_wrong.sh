#!/bin/sh
# tifffile 2026.11.8: imwrite(..., bitspersample=12, byteorder=">") writes other numbers than it is
# given, without a word.
#
# One would expect the byte order to change bytes only: samples that do not fill bytes are packed from
# the highest bit on in either order (TIFF 6.0, FillOrder 1). But the 16-bit numbers are swapped to
# big-endian before they are packed as if they were not, so 0x123 becomes 0x301 (its bytes swapped,
# the lowest 12 bits of it). Whole bytes (8, 16 or 32 bits) are right in both orders.
# Remedy: byteorder="<" for 1 < bitspersample < 8 and 8 < bitspersample < 16.
#
# Seen, with Python 3.12:
#   tifffile 2026.11.8, 12 bits
#   <: 0x001 0x123 0xabc 0xfff comes back as 0x001 0x123 0xabc 0xfff
#   >: 0x001 0x123 0xabc 0xfff comes back as 0x100 0x301 0xc0a 0xf0f
#
# Exits with 0 if this is still so, 1 if it changed, 2 if nothing could be installed: it needs Python
# 3.12 or newer (PYTHON=/path/to/it if python3 is older).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q tifffile==2026.11.8 imagecodecs==2026.10.10 numpy==2.5.5 ||
	exit 2
"$folder/venv/bin/python" - "$folder/picture.tif" <<'PY' || exit 1
import sys
from importlib.metadata import version

import numpy as np
import tifffile

print(f"tifffile {version('tifffile')}, 12 bits")
written = np.array([[0x001, 0x123, 0xABC, 0xFFF]], np.uint16)
right = {}
for order in "<>":
    tifffile.imwrite(sys.argv[1], written, bitspersample=12, byteorder=order)
    with tifffile.TiffFile(sys.argv[1]) as file:
        start = file.pages[0].dataoffsets[0]
    with open(sys.argv[1], "rb") as file:
        packed = "".join(f"{byte:08b}" for byte in file.read()[start : start + 6])
    # Unpacked by hand, and by tifffile, which agree.
    found = np.array([[int(packed[at : at + 12], 2) for at in range(0, 48, 12)]])
    assert (tifffile.imread(sys.argv[1]) == found).all()
    shown = [" ".join(f"0x{number:03x}" for number in numbers[0]) for numbers in (written, found)]
    print(f"{order}: {shown[0]} comes back as {shown[1]}")
    right[order] = bool((found == written).all())
sys.exit(right != {"<": True, ">": False})
PY
