"""Updates the tables of REPRODUCTION.md and RELIABILITY.md: python -m scripts.fill_pages

Between <!-- NAME --> and <!-- end --> stands results/NAME.md, written by `ablate.py` or
`make faults`; the other text is written by hand.
"""

import re
import sys
from pathlib import Path

from dkse_jax.errors import UserError
from dkse_jax.files import write_atomically

PAGES, RESULTS = (Path("REPRODUCTION.md"), Path("RELIABILITY.md")), Path("results")
_BLOCK = re.compile(r"<!-- (?P<name>[\w/-]+) -->\n.*?<!-- end -->", re.DOTALL)


def filled(page: str, results: Path) -> str:
    """Returns the page with each block's content replaced by the file of its name.

    Raises:
        UserError: a block's file does not exist.
    """

    def block(found: re.Match[str]) -> str:
        file = results / f"{found['name']}.md"
        if not file.is_file():
            raise UserError(f"a page names the table {found['name']}, but there is no {file}")
        return f"<!-- {found['name']} -->\n{file.read_text(encoding='utf-8')}<!-- end -->"

    return _BLOCK.sub(block, page)


if __name__ == "__main__":
    try:
        for page in PAGES:
            write_atomically(page, filled(page.read_text(encoding="utf-8"), RESULTS))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
