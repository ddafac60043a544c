"""Files that are cut off at ten shares of their length."""

import functools

from tests.data.odd import Odd, case, make

CUT = {  # a whole file -> what its parts are refused for
    "jpeg RGB 4:2:0 sequential": "",
    "jpeg RGB 4:4:4 progressive": "",
    "jpeg lossless 3 predictor 1": "",
    "png type 2 of 8 bits": "",
    "png type 6 of 16 bits, interlaced": "",
    "tiff rgb-8 0": "",
    "webp lossy": "",
    "avif 4:2:0": "",
    "gif of 200 colours": "",
    "bmp": "",
    "jp2 rgb 8": "",
    "psd rgb 8 rle": "",
    "psd rgb 16 rle": "it is a PSD",
    "heic turned": "it is a HEIC image that is damaged",
    "dng rggb < orientation 1": "",
    "pdf page 1 of 300 dpi": "it is a PDF that is damaged",
}


def cut(name, share, sentence, rng):
    content = make(name).content
    return Odd(content[: int(len(content) * share)], sentence=sentence)


for _name, _sentence in CUT.items():
    for _share in (0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.96):
        case(f"{_name}, cut off at {_share:.0%}")(functools.partial(cut, _name, _share, _sentence))
