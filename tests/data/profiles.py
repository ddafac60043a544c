"""ICC profiles of version 2, written by the specification, and the numbers of sRGB colours in them.

The numbers are computed here, without LittleCMS, which the package reads the profiles with.
"""

import struct
from collections.abc import Callable

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
Curve = Callable[[np.ndarray], np.ndarray]  # encoded value -> linear value, both from 0 to 1
SRGB_TO_XYZ = np.array(  # adapted to D50, as the profiles of sRGB have it
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
ADOBE = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
PROPHOTO = np.array([[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82521]])


def matrix_of(*xy: tuple[float, float]) -> np.ndarray:
    """The matrix to XYZ of a space with the white D50 and the chromaticities of its primaries."""
    primaries = np.array([(x / y, 1, (1 - x - y) / y) for x, y in xy]).T
    return primaries * np.linalg.solve(primaries, D50)


ECI = matrix_of((0.67, 0.33), (0.21, 0.71), (0.14, 0.08))


def srgb_curve(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def lightness_curve(v: np.ndarray) -> np.ndarray:
    return np.where(v > 0.08, ((100 * v + 16) / 116) ** 3, 100 * v / 903.3)


def gamma(exponent: float) -> Curve:
    return lambda v: v**exponent


def dot_gain(v: np.ndarray) -> np.ndarray:
    """Light of a printed value; a dot of 50 % prints as 70 %."""
    return 1 - (1 - v) ** 0.5146


def encoded(linear: np.ndarray, curve: Curve) -> np.ndarray:
    """Inverts a curve; uint8."""
    levels = np.linspace(0, 1, 2**14)
    return np.round(255 * np.interp(linear, curve(levels), levels)).astype(np.uint8)


def linear_of(srgb: np.ndarray) -> np.ndarray:
    return srgb_curve(np.asarray(srgb, float) / 255)


def in_space(srgb: np.ndarray, matrix: np.ndarray, curve: Curve) -> np.ndarray:
    """The numbers, uint8 (..., 3), of sRGB colours uint8 (..., 3) in an RGB space."""
    linear = linear_of(srgb) @ SRGB_TO_XYZ.T @ np.linalg.inv(matrix).T
    return encoded(np.clip(linear, 0, 1), curve)


def to_lab(srgb: np.ndarray) -> np.ndarray:
    """CIELAB of sRGB colours (..., 3) of 0 to 255, under D50."""
    t = linear_of(srgb) @ SRGB_TO_XYZ.T / D50
    x, y, z = np.moveaxis(np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def inks_to_srgb(inks: np.ndarray) -> np.ndarray:
    """The sRGB colours (..., 3) of 0 to 255 of inks (..., 4) of 0 to 1, of an invented press."""
    paper = np.array([250.0, 248, 240])
    return paper * (1 - 0.85 * inks[..., :3]) ** 0.7 * (1 - 0.85 * inks[..., 3:])


def rgb_profile(name: str, matrix: np.ndarray, curve: Curve) -> bytes:
    names = zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)
    tags = {tag: _xyz(column) for tag, column in names}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve))
    return _profile(name, b"mntr", b"RGB ", b"XYZ ", tags | curves)


def grey_profile(name: str, curve: Curve) -> bytes:
    return _profile(name, b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(curve)})


def press_profile(name: str, nodes: int = 11) -> bytes:
    """A CMYK profile with a table of the press of `inks_to_srgb`."""
    steps = np.linspace(0, 1, nodes)
    grid = np.stack(np.meshgrid(*[steps] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    lab = to_lab(inks_to_srgb(grid)) * (652.8, 256, 256) + (0, 32768, 32768)
    head = b"mft2" + bytes(4) + bytes((4, 3, nodes, 0))
    identity = struct.pack(">9i", *(65536 * np.eye(3, dtype=int).ravel()))
    line = struct.pack(">2H", 0, 65535)  # of tables with two entries
    table = np.clip(lab.round(), 0, 65535).astype(">u2").tobytes()
    body = head + identity + struct.pack(">2H", 2, 2) + 4 * line + table + 3 * line
    paper = (0.80, 0.83, 0.66)  # of which the table is relative
    return _profile(name, b"prtr", b"CMYK", b"Lab ", {b"A2B0": body}, paper)


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * float(v)) for v in values))


def _curve(curve: Curve) -> bytes:
    table = (65535 * curve(np.linspace(0, 1, 1024))).round().astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", len(table)) + table.tobytes()


def _profile(
    name: str,
    kind: bytes,
    space: bytes,
    pcs: bytes,
    tags: dict[bytes, bytes],
    white: tuple[float, float, float] = D50,
) -> bytes:
    text = name.encode() + b"\0"
    tags = tags | {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz(np.array(white)),
    }
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">2I", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI", start + len(body), b"none", 0x02400000) + kind + space + pcs
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(np.array(D50))[8:]
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body
