"""Hooks of `make docs`: the site also has the pages and plots that are not in docs/."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from dkse_jax import config as schema

ROOT = Path(__file__).parents[1]
PAGES = ("BENCHMARKS", "CHANGELOG", "CONTRIBUTING", "RELIABILITY", "REPRODUCTION")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of the repository's root and the plots of results/."""
    for path in [*(ROOT / f"{name}.md" for name in PAGES), *ROOT.glob("results/*.png")]:
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites links, as docs/ and the root are one folder here, and fills in the config fields."""
    if "/" not in page.file.src_uri:
        markdown = markdown.replace("](../", "](").replace("](docs/", "](")
    return markdown.replace("<!-- config fields -->", schema.describe())
