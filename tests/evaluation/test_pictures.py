import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from PIL import Image

from dkse_jax.evaluation import pictures
from dkse_jax.evaluation.pictures import Example, confusion_png, mistakes_png

HOSTILE = ["=cmd()\n", "<script>", "$x$ \\frac{", "\x1b]0;title\x07", "浮世绘\u202e"]


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def share(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Returns the share of pixels of the colour, up to 8 in each channel."""
    return float((np.abs(picture.astype(int) - colour).max(axis=2) <= 8).mean())


def matrix(classes: int) -> np.ndarray:
    return 9 * np.eye(classes, dtype=int) + np.roll(np.eye(classes, dtype=int), 1, axis=1)


def mistake(image: np.ndarray, i: int = 0, name: str = "Baroque") -> Example:
    return Example(image, name, f"{name} {i}", 0.995 - i / 100, f"{name}/{i}.jpg")


@pytest.mark.parametrize("classes", [1, 2, 5, 30, 60])
def test_confusion_has_a_sane_size_and_both_colours(tmp_path, classes):
    path = tmp_path / "c.png"
    confusion_png(path, matrix(classes), [f"artist number {k}" for k in range(classes)])
    picture = pixels(path)
    height, width = picture.shape[:2]
    assert 150 < width < 4000
    assert 150 < height < 4000
    assert 0.7 < width / height < 1.4
    assert (picture[0] == 255).all()  # a white margin
    assert (picture[:, -1] == 255).all()
    if classes > 1:
        right, wrong = pictures._cell_colours(np.array([[0.9, 0.1], [0, 1]]))[0]
        for colour in (right, wrong):  # of all cells, 1 in K has either
            assert share(picture, colour) == pytest.approx(0.6 / classes, rel=0.5)


def test_confusion_colours_rows_by_their_own_share():
    colours = pictures._cell_colours(np.array([[1.0, 0.0], [0.25, 0.75]]))
    assert colours[0, 1].tolist() == [255, 255, 255]
    assert colours[0, 0, 2] > colours[0, 0, 0]  # blue
    assert colours[1, 0, 0] > colours[1, 0, 2]  # orange
    assert colours[1, 1].mean() > colours[0, 0].mean()


def test_a_cell_holds_two_lines_its_count_and_its_share(tmp_path):
    confusion_png(tmp_path / "c.png", np.array([[7]]), ["a"])
    picture = pixels(tmp_path / "c.png").astype(int)
    blue = picture[:, :, 2] - picture[:, :, 0] > 60
    rows, columns = np.flatnonzero(blue.any(axis=1)), np.flatnonzero(blue.any(axis=0))
    cell = picture[rows[0] + 3 : rows[-1] - 2, columns[0] + 3 : columns[-1] - 2]
    written = (cell.min(axis=2) > 150).any(axis=1)
    assert np.count_nonzero(np.diff(written.astype(int)) == 1) == 2


def test_confusion_with_an_empty_row_and_large_counts(tmp_path):
    counts = np.array([[1_234_567, 1], [0, 0]])
    confusion_png(tmp_path / "c.png", counts, ["a", "b"])
    assert pixels(tmp_path / "c.png").std() > 10


def test_hostile_and_long_names_are_drawn(tmp_path):
    names = [*HOSTILE, "long " * 50]
    confusion_png(tmp_path / "c.png", matrix(6), names)
    assert pixels(tmp_path / "c.png").shape[1] < 2000
    image = np.zeros((9, 9, 3), np.uint8)
    shown = [mistake(image, i, name) for i, name in enumerate(names)]
    mistakes_png(tmp_path / "m.png", shown, total=6, examples=9)
    assert pixels(tmp_path / "m.png").shape[1] < 2200


def test_names_are_no_formulas(tmp_path):
    confusion_png(tmp_path / "text.png", matrix(2), ["$x$", "b"])
    confusion_png(tmp_path / "maths.png", matrix(2), ["x", "b"])
    assert not np.array_equal(pixels(tmp_path / "text.png"), pixels(tmp_path / "maths.png"))
    assert pictures._style(9)["parse_math"] is False
    assert pictures._style(9)["usetex"] is False


def test_shorten_keeps_both_ends_and_fits():
    name = "Northern Renaissance and the Early Netherlandish Painting"
    short = pictures._shorten(name, 9, 2.0)
    head, tail = short.split("\u2026")
    assert name.startswith(head)
    assert name.endswith(tail)
    points = text_to_path.get_text_width_height_descent(short, FontProperties(size=9), False)[0]
    assert 1.75 < points / 72 < 2.05
    assert pictures._shorten("Cubism", 9, 2.0) == "Cubism"
    assert pictures._shorten(name, 9, 0.01) == "\u2026"


def test_percent_is_honest():
    shown = {0: "0%", 0.001: "<1%", 0.01: "1%", 0.5: "50%", 0.99: "99%", 0.999: ">99%", 1: "100%"}
    assert {share: pictures._percent(share) for share in shown} == shown


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (7, 6, 2), (30, 6, 4)])
def test_mistakes_are_a_grid(tmp_path, count, columns, rows):
    image = np.full((20, 30, 3), (10, 200, 30), np.uint8)
    path = tmp_path / "m.png"
    mistakes_png(path, [mistake(image, i) for i in range(count)], total=90, examples=500)
    picture = pixels(path)
    height, width = picture.shape[:2]
    assert 300 * columns < width < 350 * columns + 400
    assert 300 * rows < height < 450 * rows + 150
    drawn = share(picture, (10, 200, 30)) * width * height / (300 * 200)
    assert drawn == pytest.approx(min(count, 24), rel=0.05)


def test_a_caption_tells_right_from_wrong_and_ends_with_its_note():
    image = np.zeros((9, 9, 3), np.uint8)
    example = Example(image, "Cubism", "Cubism", 0.9, "a.jpg", note=", but")
    label, (right, style), file = pictures._caption(example, 4.0)
    visible = [text.replace("\u200e", "") for text in (label[0], right, file[0])]
    assert visible == ["Cubism", "\u2192 Cubism 90%, but", "a.jpg"]
    assert style["color"] == pictures._RIGHT
    _, (wrong, style), _ = pictures._caption(mistake(image), 4.0)
    assert wrong.replace("\u200e", "") == "\u2192 Baroque 0 >99%"
    assert style["color"] == pictures._WRONG


@pytest.mark.parametrize("shape", [(1, 1), (5, 2000), (3000, 4), (300, 400)])
def test_thumbnail_holds_the_whole_picture(shape):
    image = np.full((*shape, 3), (200, 10, 30), np.uint8)
    square = pictures._thumbnail(image, 60)
    assert square.shape == (60, 60, 3)
    assert square.dtype == np.uint8
    painted = (square == (200, 10, 30)).all(axis=2)
    expected = [max(1, round(60 * side / max(shape))) for side in shape]
    assert [painted.any(axis=1).sum(), painted.any(axis=0).sum()] == expected


def test_no_mistakes(tmp_path):
    mistakes_png(tmp_path / "m.png", [], total=0, examples=120)
    picture = pixels(tmp_path / "m.png")
    assert 100 < picture.shape[0] < 400
    assert picture.min() < 80
    assert picture.mean() > 200


def test_global_state_stays(tmp_path):
    before = dict(mpl.rcParams)
    confusion_png(tmp_path / "c.png", matrix(2), ["a", "b"])
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", ["שלום_עולם", "مجموعة"])
def test_a_right_to_left_name_does_not_turn_its_line(name):
    """As Matplotlib draws it: the arrow at the left of the line, the extension at the right."""
    example = Example(np.zeros((9, 9, 3)), name, name, 0.38, f"{name}/{name}_026.jpg")
    _, (prediction, style), (file, small) = pictures._caption(example, 3.0)

    arrow, end = drawn("\u2192", style), drawn(".jpg", small)[:, 2:]
    np.testing.assert_array_equal(drawn(prediction, style)[:, : arrow.shape[1]], arrow)
    np.testing.assert_allclose(drawn(file, small)[:, -end.shape[1] :], end, atol=90)


def drawn(line, style):
    """The pixels of a line of text, cropped at its left and right."""
    figure = Figure(figsize=(4, 0.4), dpi=150)
    figure.text(0.1, 0.4, line, **style)
    figure.canvas = FigureCanvasAgg(figure)
    figure.canvas.draw()
    ink = np.asarray(figure.canvas.buffer_rgba())[:, :, 0]
    columns = np.flatnonzero((ink < 128).any(0))
    return ink[:, columns[0] : columns[-1] + 1]


def test_missing_letters_are_told_once(tmp_path, capsys):
    pictures._report_missing_glyphs.cache_clear()
    image = np.zeros((300, 300, 3), np.uint8)
    example = Example(image, "\U0001f9ff", "ink", 0.5, "a.jpg")
    for name in ("a.png", "b.png"):
        pictures.mistakes_png(tmp_path / name, [example], total=1, examples=2)
    assert capsys.readouterr().out.count("the installed fonts lack letters of some names") == 1
