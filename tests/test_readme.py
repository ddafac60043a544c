"""The pages: their Python examples run, and the commands, fields, files and links in them exist."""

import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dkse_jax.config import FIELDS
from dkse_jax.configs.dkse import VARIANTS
from dkse_jax.evaluation.card import CARD

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests/workdir/kept/run-0.1.0"  # a finished run
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PAGES.remove(ROOT / "CHANGELOG.md")  # it names what is gone


def found(pattern: str, least: int = 1) -> list[tuple[Path, re.Match[str]]]:
    matches = [(page, m) for page in PAGES for m in re.finditer(pattern, page.read_text(), re.M)]
    assert len(matches) >= least
    return matches


@pytest.mark.parametrize("page", ["README.md", "docs/use.md"])
def test_the_python_examples_run(page, tmp_path, monkeypatch):
    shutil.copytree(KEPT, tmp_path / "runs/demo", ignore=shutil.ignore_patterns("eval"))
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, page, "exec"), {})


def test_the_files_that_pages_name_exist():
    folders = "configs|dkse_jax|tests|docs|scripts|benchmarks|results|runs/bench"
    names = found(rf"`((?:{folders})/[\w/.-]+|\w+\.(?:py|md|toml))`", 30)
    missing = [
        (page.name, name)
        for page, match in names
        if not ((ROOT / (name := match[1])).exists() or Path(name).stem == "X" or name == CARD)
    ]
    assert not missing


def test_links_lead_to_files_and_headings():
    broken = []
    for page, match in found(r"\]\((?!https:)([^)#]*)#?([^)]*)\)", 30):
        target = (page.parent / match[1]).resolve() if match[1] else page
        headings = re.findall(r"^#+ (.*)", target.read_text(), re.M) if match[2] else []
        slugs = [re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings]
        if not target.exists() or (match[2] and match[2] not in slugs):
            broken.append((page.name, match[0]))
    assert not broken


def test_commands_have_their_flags_and_configs():
    unknown = []
    commands = r"(?:\bpython (\w+)\.py|(?<!-)\bdkse-([a-z]+))((?:[^\n`\\]|\\\n)*)"
    for page, match in found(commands, 20):
        flag_values = importlib.import_module(f"dkse_jax.cli.{match[1] or match[2]}").FLAGS
        for flag, value in re.findall(r"--([\w.-]+)=?([^\s\"]*)", match[3]):
            if flag == "config":
                file, _, variant = value.partition(":")
                exists = (ROOT / file).is_file() or (ROOT / f"dkse_jax/configs/{file}.py").is_file()
                if not exists or variant not in ("", "VARIANT", *VARIANTS):
                    unknown.append((page.name, value))
            elif flag.removeprefix("config.") not in FIELDS and flag not in flag_values:
                unknown.append((page.name, flag))
    assert not unknown


def test_fields_modules_and_targets_exist():
    fields = found(r"--config\.([\w.]*\w)", 20)
    assert not [(page.name, m[1]) for page, m in fields if m[1] not in FIELDS]
    modules = found(r"python -m ((?:dkse_jax|benchmarks|scripts|tests)[\w.]*)", 5)
    assert not [m[1] for _, m in modules if not importlib.util.find_spec(m[1])]
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert not {m[1] for _, m in found(r"(?:^|`)make (\w+)", 8)} - targets
