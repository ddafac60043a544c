"""Limits on what is decoded."""

import io
import struct
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from dkse_jax.data.decode import MAX_BYTES, BadImage, decode_image
from dkse_jax.data.formats import limits
from dkse_jax.data.formats import tiff as tiff_reader
from tests.data.images import encode, picture, png, png_16bit, tiff, written


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "film.tif"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(BadImage, match="4,294,967,297 bytes are more than 4,294,967,296"):
        decode_image(path)


@pytest.mark.parametrize("side", [9460, 20000])
@pytest.mark.parametrize("warn", ["error", "ignore"])
def test_decompression_bombs_are_refused(side, warn):
    data = png_16bit(0, np.zeros((1, 1)), size=(side, side))
    words = f"it is a PNG of {side:,} x {side:,} pixels.* reduce it below 89 megapixels"
    with warnings.catch_warnings(action=warn), pytest.raises(BadImage, match=words):
        decode_image(data)


BROKEN = Image.Exif()
BROKEN[274] = 6
SILENT = {
    "EXIF of 9 entries, but with 1": encode(
        Image.fromarray(picture()),
        "JPEG",
        exif=(broken := BROKEN.tobytes())[:14] + b"\0\x09" + broken[16:],
    ),
    "1-bit PNG of 100 megapixels": png(1, 0, [bytes(1250)], (10000, 10000)),
    "1-bit PNG of 220 megapixels": png(1, 0, [bytes(1838)], (15000, 14700)),
    "TIFF of 60 samples": tiff(8, bytes(240), 1, samples=60),
}


def test_no_library_writes_to_the_screen(tmp_path):
    """Python's own filters of warnings hold only in a process of its own."""
    for number, content in enumerate(SILENT.values()):
        (tmp_path / f"{number}.jpg").write_bytes(content)
    code = """
import logging, sys
logging.basicConfig()  # as libraries do
from dkse_jax.data.decode import BadImage, decode_image
for path in sys.argv[1:]:
    try:
        print(decode_image(path).shape)
    except BadImage as refusal:
        print(refusal)
"""
    paths = [str(tmp_path / f"{number}.jpg") for number in range(len(SILENT))]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "(64, 48, 3)"
    assert "a PNG of 10,000 x 10,000 pixels" in lines[1]
    assert "a PNG of 15,000 x 14,700 pixels" in lines[2]
    assert "a TIFF" in lines[3]


GREY_TABLE = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))


@pytest.mark.parametrize("min_side", [1, 8, 48])
@pytest.mark.parametrize(
    ("options", "stated"),
    [
        ({"photometric": "palette", "colormap": GREY_TABLE}, {256: 14_000_000, 257: 48}),
        ({"compression": "jpeg"}, {256: 2**24, 257: 2**16, 278: 2**16}),
        ({"compression": "jpeg", "tile": (16, 16)}, {322: 2**16, 323: 2**16}),
    ],
)
def test_a_huge_part_is_refused_before_libvips_allocates_it(options, stated, min_side, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    monkeypatch.setattr(limits, "MAX_PIXELS", 1000)
    monkeypatch.setattr(tiff_reader, "MAX_PIXELS", 1000)
    data = bytearray(written((picture()[..., 0], options)))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for tag, value in stated.items():
            place = file.pages.first.tags[tag].offset
            struct.pack_into("<HHII", data, place, tag, 4, 1, value)
    with pytest.raises(BadImage, match=r"it is a TIFF of .* pixels, of which all would be"):
        decode_image(bytes(data), min_side)


def test_what_a_user_has_set_of_logging_stays():
    code = """
import logging
for name in ("PIL", "psd_tools"):
    logging.getLogger(name).setLevel("INFO")
import dkse_jax.data.decode
print([logging.getLogger(name).level for name in ("PIL", "psd_tools", "tifffile")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[20, 20, 50]\n", "")


def test_the_pixels_under_way_are_bounded():
    """Each reservation of half the budget, or more than it, runs with at most one other."""
    budget = limits._Budget(100)
    now, most = [], []

    def work(size):
        with budget.reserve(size):
            now.append(min(size, 100))
            most.append(sum(now))
            time.sleep(0.002)
            now.remove(min(size, 100))

    rng = np.random.default_rng(0)
    threads = [threading.Thread(target=work, args=(int(s),)) for s in rng.integers(1, 200, 24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 24
    assert max(most) <= 100


def test_a_refused_image_gives_its_memory_back():
    pixels = encode(Image.new("L", (1800, 1800)), "PNG")[:1500]
    free = limits._PIXELS._free
    for _ in range(9):
        with pytest.raises(BadImage, match="truncated"):
            decode_image(pixels)
    assert limits._PIXELS._free == free


@pytest.mark.parametrize("threads", [2, 6])
def test_a_file_and_its_pixels_keep_their_room_to_the_end(threads, monkeypatch):
    """Each image takes all of the memory, so that no two are there at one time."""
    monkeypatch.setattr(limits, "_FEW", 1000)
    monkeypatch.setattr(limits, "_FILES", limits._Budget(2000))
    monkeypatch.setattr(limits, "_PIXELS", limits._Budget(5000))
    content = encode(Image.fromarray(picture()), "PNG")
    inside, most = [], []

    def work(number):
        with limits.room_for_one([500, 5000][number % 2]):  # small and large files
            decode_image(content)
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.002)
            inside.remove(number)

    running = [threading.Thread(target=work, args=(number,)) for number in range(2 * threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert most == [1] * 2 * threads
    assert (limits._FILES._free, limits._PIXELS._free) == (2000, 5000)


def test_photographs_of_a_training_do_not_wait_for_each_other(monkeypatch):
    monkeypatch.setattr(limits, "_PIXELS", limits._Budget(0))
    asked = []
    monkeypatch.setattr(limits._Budget, "reserve", lambda self, size: asked.append(size))
    decode_image(encode(Image.new("L", (2000, 1000)), "PNG"))
    assert asked == []
