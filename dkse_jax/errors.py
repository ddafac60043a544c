"""Mistakes a user can make, told in one sentence."""

import difflib
import sys
from collections.abc import Iterable
from typing import NoReturn

from dkse_jax.text import plain_text


class UserError(ValueError):
    """A mistake of the user's: the scripts print its one sentence and exit with code 2.

    Of several mistakes that are told at once, each is an argument, and a line of the text.
    """

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


def refuse(sentence: str) -> NoReturn:
    """Raises UserError; what would steer a terminal is taken out of the sentence."""
    raise UserError(plain_text(sentence))


def nearest(name: str, choices: Iterable[str]) -> str:
    """Ends an error sentence: `; did you mean "x"?` or `; choose one of a, b, c`."""
    choices = sorted(choices)
    close = difflib.get_close_matches(name, choices, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return "; choose one of " + ", ".join(choices) if choices else ""


def tell(error: UserError) -> None:
    """Prints its sentences, as plain text: paths and names of other people's files are in them."""
    for sentence in error.args:
        print(plain_text(str(sentence)), file=sys.stderr, flush=True)
