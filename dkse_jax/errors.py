"""Errors of the user, each reported in one sentence."""

import difflib
from collections.abc import Iterable
from typing import NoReturn

from dkse_jax.text import plain_text

EXIT_CODE = 2  # of a command that a UserError ended


class UserError(ValueError):
    """A mistake of the user: the commands print its sentence and exit with EXIT_CODE.

    If several mistakes are reported at once, each is an argument and a line of the text.
    """

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


def refuse(sentence: str) -> NoReturn:
    """Raises UserError with the sentence, without what could control a terminal."""
    raise UserError(plain_text(sentence))


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns the end of an error sentence: `; did you mean "x"?` or `; choose one of a, b, c`."""
    choices = sorted(choices)
    close = difflib.get_close_matches(name, choices, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return "; choose one of " + ", ".join(choices) if choices else ""
