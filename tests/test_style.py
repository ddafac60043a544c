"""The style of docstrings, comments and files: verb first, the field's terms, 300 lines."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dkse_jax", "benchmarks", "scripts")
MAX_LINES = 300
# Words that have the form of a verb but are none.
NO_VERBS = frozenset(("Across", "As", "Bytes", "Classes", "Images", "Indices", "Is", "Its"))
NO_VERBS |= {"Metrics", "Plus", "Rows", "Seconds", "Sizes", "This", "Was"}
BANNED = re.compile(
    r"\b(judg\w*|unjudged|verdicts?|so many|as (it|they) comes?|lest|heed\w*|saboteurs?|whoever"
    r"|told|tells?|says?|said|likewise|(is|are) worth|betrays?)\b",
    re.IGNORECASE,
)


def files() -> list[Path]:
    """Returns the Python files of the packages."""
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def docstrings(tree: ast.AST) -> Iterator[tuple[ast.AST, int, str]]:
    """Yields each documented node with its line and its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node, node.body[0].lineno, text


def is_verb_first(node: ast.AST, text: str) -> bool:
    """Returns whether the docstring of a function, but for properties, starts with a verb."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return True
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if decorators & {"property", "functools.cached_property"} or node.name.startswith("__"):
        return True
    word = re.match(r"[A-Z][a-z]+s\b", text)
    return word is not None and word[0] not in NO_VERBS


def without_verb(source: str) -> list[int]:
    """Returns the lines of function docstrings that do not start with a verb."""
    found = docstrings(ast.parse(source))
    return [line for node, line, text in found if not is_verb_first(node, text)]


def banned_words(source: str) -> list[tuple[int, str]]:
    """Returns (line, words) of the docstrings and comments that have a banned word."""
    texts = [(line, text) for _, line, text in docstrings(ast.parse(source))]
    texts += [
        (token.start[0], token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    return [(line, found[0]) for line, text in texts if (found := BANNED.search(text))]


def test_the_docstring_of_a_function_starts_with_a_verb():
    found = {str(file.relative_to(ROOT)): without_verb(file.read_text()) for file in files()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_docstrings_and_comments_use_the_terms_of_the_field():
    found = {str(file.relative_to(ROOT)): banned_words(file.read_text()) for file in files()}
    assert {name: words for name, words in found.items() if words} == {}


def test_a_file_of_the_package_has_at_most_300_lines():
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text().splitlines())
        for file in (ROOT / "dkse_jax").rglob("*.py")
    }
    assert len(lengths) > 80
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


@pytest.mark.parametrize(
    ("docstring", "right"),
    [
        ("Returns it.", True),
        ("Crops, then scales it.", True),
        ("The result.", False),
        ("Return it.", False),
        ("Returning it.", False),
        ("Seconds of a call.", False),
    ],
)
def test_a_verb_is_recognised_by_its_form(docstring, right):
    function = f'def name(self):\n    """{docstring}"""\n'
    assert (without_verb(function) == []) == right
    assert without_verb(f"@property\n{function}") == []


def test_banned_words_are_found_in_docstrings_and_comments_alone():
    source = '"""Judged."""\nname = "so many"  # lest it fails\n'
    assert banned_words(source) == [(1, "Judged"), (2, "lest")]
