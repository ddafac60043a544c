"""Pages of PDF files, rendered by PDFium."""

import math
import threading

import numpy as np
from PIL import Image

from dkse_jax.data.formats import MAX_PIXELS, Opened, check_page
from dkse_jax.data.formats.pillow import check_pixels

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


def _render(page, min_side: int | None, pages: int) -> Opened:
    width, height = page.get_size()  # in points, 1/72 inch
    scan = _pixels_a_point(page, width * height)
    scale = scan or _DPI / 72
    size = (round(width * scale), round(height * scale))
    if min_side is not None:
        wanted = min_side / min(width, height)
        scale = min(scale, wanted) if scan else wanted
    scale = min(scale, math.sqrt(MAX_PIXELS / (width * height)))
    # PDFium rounds up: a little less than whole pixels keeps those of a scan as they are.
    bitmap = page.render(scale=scale - 0.01 / max(width, height), rev_byteorder=True)
    pixels = np.array(bitmap.to_numpy())
    return Opened(Image.fromarray(pixels), size, pages)


def _pixels_a_point(page, area: float) -> float | None:
    """Returns the resolution of the picture that covers most of a page; None without one."""
    from pypdfium2 import raw

    found = []
    for picture in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]):
        size = picture.get_px_size()
        check_pixels(size)
        left, bottom, right, top = picture.get_bounds()
        covered = (right - left) * (top - bottom)
        if covered >= _SCAN * area:
            found.append((covered, math.sqrt(size[0] * size[1] / covered)))
    return max(found)[1] if found else None
