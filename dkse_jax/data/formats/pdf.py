"""Pages of PDF files, rendered by PDFium."""

import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from dkse_jax.data.formats import Opened, check_page
from dkse_jax.data.formats.limits import MAX_PIXELS, check_pixels

_DPI = 200  # of a page that is not a scan
_SCAN = 0.5  # of the page, that a picture covers at least
_one_at_a_time = threading.Lock()  # PDFium is not thread-safe


def open_picture(content: bytes, min_side: int | None, page: int) -> Opened:
    """Renders a page, a scanned one at most with the pixels that it has.

    Of other pages the shorter side has min_side pixels. See `formats.open_picture`.
    """
    import pypdfium2

    with _one_at_a_time:
        try:
            document = pypdfium2.PdfDocument(content)
        except pypdfium2.PdfiumError as error:
            locked = error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD
            reason = "that needs a password" if locked else "that is damaged"
            raise ValueError(f"it is a PDF {reason}") from error
        try:
            pages = len(document)
            check_page(page, pages)
            return _render(document[page - 1], min_side, pages)
        except pypdfium2.PdfiumError as error:
            raise ValueError(f"page {page} of the PDF is damaged: {error}") from error
        finally:
            document.close()


def _render(page: Any, min_side: int | None, pages: int) -> Opened:
    width, height = page.get_size()  # in points, 1/72 inch
    if not width * height > 0:
        raise ValueError("it is a PDF whose page has no area")
    pictures = list(_pictures(page))
    scans = [one for one in pictures if one[0] >= _SCAN * width * height]
    covered, pixels = max(scans, default=(0, (0, 0)))
    scale = math.sqrt(math.prod(pixels) / covered) if scans else _DPI / 72
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if min_side is not None:
        # PDFium averages; by whole numbers it does so over whole pixels.
        scale = scale / max(1, min(size) // min_side) if scans else min_side / min(width, height)
    scale = min(scale, math.sqrt(MAX_PIXELS / (width * height)))
    rendered = int(3 * width * height * scale**2)
    check_pixels(max((pixels for _, pixels in pictures), key=math.prod, default=(0, 0)), rendered)
    # PDFium rounds up: a little less than whole pixels keeps those of a scan as they are.
    bitmap = page.render(scale=scale * (1 - 1e-6), rev_byteorder=True)
    return Opened(Image.fromarray(np.array(bitmap.to_numpy())), size, pages)


def _pictures(page: Any) -> Iterator[tuple[float, tuple[int, int]]]:
    """Yields of each picture on a page the area that it covers and its size in pixels."""
    from pypdfium2 import raw

    for picture in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]):
        left, bottom, right, top = picture.get_bounds()
        yield (right - left) * (top - bottom), picture.get_px_size()
