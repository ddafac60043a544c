"""JPEG, JPEG 2000, and the formats that carry their name."""

import base64
import functools
import io
import itertools

import imagecodecs
import numpy as np
from PIL import Image

from tests.data.images import UPRIGHT
from tests.data.odd import Odd, bytes_of, case, inks_of, of_inks, on_white, picture, slope

# cjpeg of libjpeg-turbo 2.1.5 with -arithmetic, and with -progressive, quality 80.
ARITHMETIC = """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwg
IyYnKSopGR8tMC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo
KCgoKCgoKCgoKCgoKCj/yQARCABYAHgDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AMkVdziUiVWZJIvc
pB0FwiwEQAaL4JYHzc8VR3X440FrsCsug93gG96KLS9//S/Vg+Kb5Dpprz9WI9MwzPE0q5NT8YAh+j6ZPnE0OAzYqmpQjQAa
VPXNF5ZiwePfDAwTihuAkBPfhljgMeNB3t7cW4JQONwIoRWZYA/pEV8dDX0S7pSBjgVUkIp8d5S+niMnga2uAFwLDejkufsy
/wCa1uIkKUdQjKhxlUvbVCgbT2iCJKkK4kHQsUyqy7YO/Xov1sRlXOig+ggQHdYoq/zwlTtH/wCceo5uGTD9xz8UH2Ecx6hu
nnFpncRYFB3CUsB41Jz6lVqzT29HzPjIMNJWHLc+X2dLnwJZwcc1vBJG9SjaOGLRC/nfmLKprFfPWvLu4vgvFwB3Fohj/H+O
WVjmzjru5Z/Af5G22WjD5CSLWk2FWokxVYGZ9NsfjPfE+6wdhTkkQC+zKcfX+GwsGteuz7l0YLx4NoIZYztjMPXI2H4RNaqE
Uc000quoMc8eiSI6p14mB5zsID8VjY03DkcBgiFHHOyFT9fCvCA6TI5ipbWrhhWrdy1/NMpdsRh6To3ice8ZopaiyCw2JRtf
fuOGmZ9uMCW7+GU1MMowrR8aWgTt2vrQ7oGYrPkSJEeSnyp5JsZr+WricdUeecocFA4H4Td1nMqbHgn4XLobKK6eGxP2fsoZ
iL3+VhxuT3fyTRQMBMevzzpYRxRHc/r0WqD/2Q==
"""
ARITHMETIC_PROGRESSIVE = """
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwg
IyYnKSopGR8tMC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo
KCgoKCgoKCgoKCgoKCj/ygARCABYAHgDASIAAhEBAxEB/8wABgAQARD/2gAMAwEAAhADEAAAAf8AkgkeWJ+UupSqZgfZPmCV
QPmkWPVMwv4dgfagldsQOnz+jWqe9PsNdQlwL59ei2wipySmBNyfCZ11F8UkwG9RbBmLrAbQJdi5skA5a3rTNH72rOQrhETC
E8z30EWzf0RSprIXaSma8htfJae72v1VTuSUjrVfOawTBd/bx2oSnE9GaRhqYpOwNfV26MA/T2vxjaY9fXStwcIyFSSS0+KO
4+OJM0LaCp3kOP/MAAQQBf/aAAgBAQABBQKWEwQZ44kSpSlKUpSlKUpSlKUpSlKUpSlKUpSlKUpSlKUpSlT/zAAEEQX/2gAI
AQMBAT8BF8N3LcZ2qBKfDWn3cqqlUoPQYyM+fu5B+klM0GlA/8wABBEF/9oACAECAQE/AT3Uy64qGP1cP1Pb1rSultA/R8ue
5jhrRPnQvJXCz+4t96dOEXo00Qdz+TWTgP/MAAQQBf/aAAgBAQAGPwKo/8wABBAF/9oACAEBAAE/Id9UaeJbKT+9htgGeusU
r6a6C/ZE07QczTXQX7ImnaDmadY9UfLoJCteYuMD9QmngP/aAAwDAQACAAMAAAAQnLmdbhaeN7fO8BJ8h3FE+1LXkkvp6aeb
YAZfW3sTNnA0a+Ty/8wABBEF/9oACAEDAQE/EAaJXq8zYSLTslCw+paiFEZKnTjLikZA/8wABBEF/9oACAECAQE/EMpFPUNr
ZZEdaXSWK5NoUyTLSd5pI8D/zAAEEAX/2gAIAQEAAT8QAcTSm0B/faWnubyHD59lmxbD4jzGYc5hI6kzRUkIVMny/YTfzpwC
LTYsdrLXTNtpGVuljHDG2Xhna2X6eoO5LtMNGd13UP/Z
"""


def pillow(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def exif(orientation):
    data = Image.Exif()
    data[274] = orientation
    return data


def jpeg(mode, options, bound, rng):
    pixels = bytes_of(picture(rng))
    image = Image.fromarray(pixels)
    if mode == "CMYK":
        inks = inks_of(picture(rng))
        image, pixels = Image.fromarray(inks, "CMYK"), of_inks(inks)
    elif mode == "L":
        pixels = np.repeat(pixels[..., :1], 3, -1)
        image = Image.fromarray(pixels[..., 0])
    return Odd(pillow(image, "JPEG", **{"quality": 92} | options), pixels, bound)


for _mode, _sampling, _progressive in itertools.product(
    ("RGB", "CMYK"), ("4:4:4", "4:2:2", "4:2:0"), (False, True)
):
    case(f"jpeg {_mode} {_sampling} {'progressive' if _progressive else 'sequential'}")(
        functools.partial(jpeg, _mode, {"subsampling": _sampling, "progressive": _progressive}, 4)
    )
for _name, _mode, _options in (
    ("grey", "L", {}),
    ("grey progressive", "L", {"progressive": True}),
    ("coded as RGB", "RGB", {"keep_rgb": True}),
    ("optimised", "RGB", {"optimize": True}),
    ("restart rows", "RGB", {"restart_marker_rows": 1}),
    ("restart blocks", "RGB", {"restart_marker_blocks": 3, "progressive": True}),
    ("quality 30", "RGB", {"quality": 30}),
    ("comment", "RGB", {"comment": b"\xff\xd8\xff\xd9" * 99}),
):
    case(f"jpeg {_name}")(functools.partial(jpeg, _mode, _options, 6 if "30" in _name else 4))


def turned(file_format, orientation, rng):
    pixels = bytes_of(picture(rng))
    lossless = {"lossless": True} if file_format == "WEBP" else {"quality": 92}
    content = pillow(Image.fromarray(pixels), file_format, exif=exif(orientation), **lossless)
    return Odd(content, UPRIGHT[orientation](pixels), 4)


for _format, _orientation in itertools.product(("JPEG", "WEBP", "AVIF", "PNG"), range(2, 9)):
    case(f"{_format.lower()} orientation {_orientation}")(
        functools.partial(turned, _format, _orientation)
    )


def sampled(sampling, rng):
    pixels = bytes_of(picture(rng))
    return Odd(imagecodecs.jpeg8_encode(pixels, 92, subsampling=sampling), pixels, 4)


for _sampling in ("440", "411"):
    case(f"jpeg {_sampling}")(functools.partial(sampled, _sampling))


def lossless(channels, predictor, rng):
    pixels = np.ascontiguousarray(bytes_of(picture(rng))[..., :channels])
    content = imagecodecs.jpeg8_encode(pixels.squeeze(), lossless=True, predictor=predictor)
    return Odd(content, np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


for _channels, _predictor in itertools.product((1, 3), (1, 4, 7)):
    case(f"jpeg lossless {_channels} predictor {_predictor}")(
        functools.partial(lossless, _channels, _predictor)
    )


def arithmetic(text, rng):
    y, x = np.mgrid[0:1:88j, 0:1:120j]
    pixels = np.stack([255 * x, 255 * y, 255 * (1 - x) * (1 - y)], -1).astype(np.uint8)
    return Odd(base64.b64decode(text), pixels, 3)


case("jpeg arithmetic")(functools.partial(arithmetic, ARITHMETIC))
case("jpeg arithmetic progressive")(functools.partial(arithmetic, ARITHMETIC_PROGRESSIVE))


@case("jpeg of 12 bits")
def twelve_bits(rng):
    content = imagecodecs.jpeg8_encode(picture(rng) >> 4, 92, bitspersample=12)
    return Odd(content, sentence="it is a JPEG of.* 12 bits")


@case("jpeg lossless of 16 bits")
def sixteen_bits(rng):
    content = imagecodecs.jpeg8_encode(picture(rng), lossless=True, bitspersample=16)
    return Odd(content, sentence="it is a lossless JPEG of 16 bits")


@case("jpeg LS")
def jpeg_ls(rng):
    return Odd(imagecodecs.jpegls_encode(bytes_of(picture(rng))), sentence="it is a JPEG")


@case("jpeg of two pictures")
def mpo(rng):
    pixels = bytes_of(picture(rng))
    other = Image.fromarray(pixels[::-1].copy())
    content = pillow(Image.fromarray(pixels), "MPO", save_all=True, append_images=[other])
    return Odd(content, pixels, 5)


@case("jpeg and more behind it")
def trailing(rng):
    pixels = bytes_of(picture(rng))
    return Odd(pillow(Image.fromarray(pixels), "JPEG", quality=92) + bytes(500), pixels, 4)


def jpeg_2000(kind, bits, options, rng):
    deep = picture(rng)
    true = bytes_of(deep)
    if kind == "grey":
        deep, true = deep[..., 0], np.repeat(true[..., :1], 3, -1)
    elif kind == "alpha":
        share = slope(deep)
        deep = np.concatenate([deep, share[..., None]], -1)
        true = on_white(true, share / 65_535)
    stored = deep >> (16 - bits)
    if bits <= 8:
        stored = stored.astype(np.uint8)
    content = imagecodecs.jpeg2k_encode(stored, bitspersample=bits, reversible=True, **options)
    return Odd(content, true, 1.2)


for _kind, _bits, _codec in itertools.product(
    ("grey", "rgb", "alpha"), (8, 10, 12, 16), ("JP2", "J2K")
):
    case(f"{_codec.lower()} {_kind} {_bits}")(
        functools.partial(jpeg_2000, _kind, _bits, {"codecformat": _codec})
    )
for _name, _options in (
    ("without colour transform", {"mct": False}),
    ("one resolution", {"resolutions": 1}),
):
    for _bits in (8, 16):
        case(f"jp2 {_name} {_bits}")(
            functools.partial(jpeg_2000, "rgb", _bits, {"codecformat": "JP2"} | _options)
        )


def by_openjpeg(options, bound, rng):
    pixels = bytes_of(picture(rng))
    return Odd(pillow(Image.fromarray(pixels), "JPEG2000", **options), pixels, bound)


for _name, _options, _bound in (
    ("lossy", {"irreversible": True, "quality_layers": [20]}, 5),
    ("tiles", {"tile_size": (48, 32)}, 0),
    ("tiles of the whole", {"tile_size": (512, 512), "progression": "RPCL"}, 0),
    ("layers", {"quality_layers": [40, 10, 0], "progression": "RLCP"}, 0),
):
    case(f"jp2 {_name}")(functools.partial(by_openjpeg, _options, _bound))
