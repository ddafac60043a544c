"""Writes a small prediction and lets other programs read it: python -m scripts.interop

Packages of Python and npm are installed into an environment of their own; LibreOffice, exiftool,
exiv2 and darktable-cli are those of the system (Debian: libreoffice-calc, libimage-exiftool-perl,
exiv2, darktable). A program that is not installed is named in the last line. Exits with 1 if one
reads something else than what was written.
"""

import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from absl import app, flags

from dkse_jax.console import say
from scripts.interop.checks import CHECKS, HERE, NotInstalled, Place
from scripts.interop.outputs import write

TOOLS = flags.DEFINE_string("tools", ".venv-interop", "The environment of the packages.")


def install(tools: Path) -> None:
    """Installs the packages of Python and npm that are there to be had."""
    python = tools / "bin" / "python"
    if not python.exists():
        venv.create(tools, with_pip=True)
    requirements = HERE / "requirements.txt"
    for line in requirements.read_text().split():
        subprocess.run([python, "-m", "pip", "install", "--quiet", line], stderr=subprocess.DEVNULL)
    if shutil.which("npm"):
        packages = ["@iiif/parser@2.2.10"]
        subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", *packages], cwd=tools
        )


def main(_: list[str]) -> None:
    """Prints a line for each program, and last those that are not installed."""
    tools = Path(TOOLS.value).absolute()
    install(tools)
    missing, wrong = [], 0
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), tools)
        write(place.folder)
        for program, check in CHECKS.items():
            try:
                check(place)
            except NotInstalled:
                missing.append(program)
            except (AssertionError, RuntimeError, LookupError, ValueError, OSError) as error:
                wrong += 1
                say(f"{program}: WRONG: {error}")
            else:
                say(f"{program}: right")
    say(f"{len(CHECKS) - wrong - len(missing)} right, {wrong} wrong, not installed: "
        f"{', '.join(missing) or 'none'}")  # fmt: skip
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    app.run(main)
