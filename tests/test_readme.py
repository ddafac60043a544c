import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_python_examples_run():
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, str(README), "exec"), {})


def test_the_files_it_names_exist():
    pattern = r"`((?:configs|dkse_jax|tests|docs|scripts)/[\w/.]+|\w+\.py)`"
    names = set(re.findall(pattern, README.read_text()))
    assert names
    missing = [name for name in names if not (README.parent / name.rstrip("/")).exists()]
    assert not missing
