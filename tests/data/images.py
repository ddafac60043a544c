"""Images that tests of several formats encode."""

import io
import struct
import zlib

import numpy as np
import tifffile

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
# What a viewer must do with stored pixels for each EXIF orientation (TIFF 6.0, tag 274).
UPRIGHT = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.rot90(p, 2).swapaxes(0, 1),
    8: lambda p: np.rot90(p, 1),
}


def encode(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def picture(height=48, width=64):
    """Draws a smooth image, which JPEG keeps within a few grey levels, without symmetry."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([255 * x, 255 * y, 255 * (1 - x) * (1 - y)], axis=-1).astype(np.uint8)


def chunk(tag, data):
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def png(bits, colour_type, rows, size, transparent=()):
    """Encodes a PNG of a format that Pillow cannot write, from the packed bytes of each row."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour_type, 0, 0, 0))]
    if transparent:
        parts.append((b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    parts += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def png_16bit(colour_type, pixels, transparent=(), size=None):
    """Encodes a 16-bit PNG; its header may state another size."""
    rows = [row.astype(">u2").tobytes() for row in pixels]
    return png(16, colour_type, rows, size or pixels.shape[1::-1], transparent)


def tiff(bits, row, photometric, order="<", width=4, samples=1, deflate=False):
    """Encodes a TIFF of one row, given as its packed bytes."""
    row = zlib.compress(row) if deflate else row
    tags = {256: width, 257: 1, 258: bits, 259: 8 if deflate else 1, 262: photometric}
    tags |= {273: 0, 277: samples, 278: 1, 279: len(row)}
    extra = struct.pack(order + f"{samples}H", *[bits] * samples) if samples > 1 else b""
    start = 8 + 2 + 12 * len(tags) + 4
    tags[273] = start + len(extra)
    parts = [b"II*\0" if order == "<" else b"MM\0*", struct.pack(order + "IH", 8, len(tags))]
    for tag, value in tags.items():
        if tag == 258 and samples > 1:
            parts.append(struct.pack(order + "HHII", tag, 3, samples, start))
        else:
            parts.append(struct.pack(order + "HHIHH", tag, 3, 1, value, 0))
    return b"".join([*parts, struct.pack(order + "I", 0), extra, row])


LAYOUTS = {"strips": {}, "short strips": {"rowsperstrip": 7}, "tiles": {"tile": (32, 16)}}


def written(*pages):
    """Encodes a TIFF of pages, each (pixels, options of tifffile)."""
    buffer = io.BytesIO()
    bigs = {options.pop("bigtiff", False) for _, options in pages}
    order = pages[0][1].pop("byteorder", "<")
    with tifffile.TiffWriter(buffer, bigtiff=True in bigs, byteorder=order) as file:
        for pixels, options in pages:
            options.setdefault("photometric", "rgb" if pixels.ndim == 3 else "minisblack")
            file.write(pixels, metadata=None, **options)
    return buffer.getvalue()
