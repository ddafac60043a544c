"""Puts the tables into REPRODUCTION.md: python -m dkse_jax.experiments.reproduction

Its prose is written by hand. What stands between <!-- NAME --> and <!-- end --> is the table that
`ablate.py` wrote as results/NAME.md.
"""

import re
import sys
from pathlib import Path

from dkse_jax.errors import UserError
from dkse_jax.workdir.files import write_atomically

PAGE, RESULTS = Path("REPRODUCTION.md"), Path("results")
_BLOCK = re.compile(r"<!-- (?P<name>[\w/-]+) -->\n.*?<!-- end -->", re.DOTALL)


def filled(page: str, results: Path) -> str:
    """The page with each block's content replaced by the file of its name.

    Raises:
        UserError: a block names no file in results.
    """

    def block(found: re.Match[str]) -> str:
        file = results / f"{found['name']}.md"
        if not file.is_file():
            raise UserError(f"{PAGE} names the table {found['name']}, but there is no {file}")
        return f"<!-- {found['name']} -->\n{file.read_text(encoding='utf-8')}<!-- end -->"

    return _BLOCK.sub(block, page)


if __name__ == "__main__":
    try:
        write_atomically(PAGE, filled(PAGE.read_text(encoding="utf-8"), RESULTS))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
