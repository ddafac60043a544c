"""A small script of this test: flags, a config."""

import copy
import importlib
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from dkse_jax import cli
from dkse_jax.configs import dkse
from dkse_jax.errors import UserError
from dkse_jax.interrupts import Interrupted

# ml_collections loads config files in a way that Python 3.12 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

ROOT = Path(__file__).parents[1]
BASE = f"--config={ROOT}/configs/base.py"


class Script:
    """A script in this process, with flags of its own."""

    def __init__(self, monkeypatch, capsys):
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.raises: BaseException | None = None

    def run(self, *arguments: str):
        """Returns (exit code, config, stdout, stderr)."""
        self.monkeypatch.setattr(sys, "argv", ["script", *arguments])
        # config_flags loads each config file into this module, over the one before.
        self.monkeypatch.delitem(sys.modules, "config_config", raising=False)
        values = flags.FlagValues()
        config = config_flags.DEFINE_config_file("config", flag_values=values)
        workdir = flags.DEFINE_string("workdir", None, "where the run is", flag_values=values)
        flags.DEFINE_integer("images", 1, "how many", flag_values=values)
        flags.mark_flag_as_required("config", values)
        flags.mark_flag_as_required("workdir", values)
        for name in ("config", "workdir", "images"):  # as if defined in the script's own file
            values.register_key_flag_for_module(__name__, values[name])
        seen = []

        def main() -> None:
            seen.append(config.value)
            print(f"main in {workdir.value}")
            if self.raises:
                raise self.raises

        code: int | str | None = 0
        try:
            cli.run(main, values)
        except SystemExit as end:
            code = end.code
        out, err = self.capsys.readouterr()
        return code, seen[0] if seen else None, out, err


@pytest.fixture
def script(monkeypatch, capsys):
    return Script(monkeypatch, capsys)


def test_flags_and_overrides_reach_main(script):
    code, config, out, err = script.run(
        "--workdir=a",
        BASE,
        "--config.model.positions=()",
        "--config.model.kernel_sizes=(3,5)",
        "--config.train.epochs=2",
        "--noconfig.log.tensorboard",
        "--config.seed",
        "7",
    )
    assert (code, out, err) == (0, "main in a\n", "")
    assert config.model.positions == ()
    assert config.model.kernel_sizes == (3, 5)
    assert config.train.epochs == 2.0
    assert config.log.tensorboard is False
    assert config.seed == 7
    assert config.is_locked


@pytest.mark.parametrize("given", [["--config=dkse:sk"], ["-config", "dkse:sk"]])
def test_a_config_of_the_package_goes_by_its_name(script, given, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, config, _, err = script.run("--workdir=a", *given, "--config.seed=3")
    assert (code, err) == (0, "")
    expected = dkse.get_config("sk")
    expected.seed = 3
    assert config == expected.lock()


def test_the_top_level_configs_are_those_of_the_package():
    names = {file.stem for file in (ROOT / "configs").glob("*.py")}
    assert names == {file.stem for file in (ROOT / "dkse_jax/configs").glob("[!_]*.py")}
    for name in names:
        top, own = (
            importlib.import_module(f"{at}.{name}") for at in ("configs", "dkse_jax.configs")
        )
        assert top.get_config is own.get_config


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workdr=a", BASE], '--workdr is not a flag; did you mean "workdir"?'),
        ([BASE], "--workdir is missing: where the run is"),
        (["--workdir=a"], "--config is missing: path to config file."),
        (["--workdir"], "Missing value for flag --workdir"),
        (["--workdir=a", BASE, "x"], '"x" is not a flag; write --name=value'),
        (["--workdir=a", BASE, "--images=2.5"], "--images is 2.5, but must be a whole number"),
        (
            ["--workdir=a", BASE.replace("base", "bsae")],
            f'there is no config file {ROOT}/configs/bsae.py; did you mean "base.py"?',
        ),
        (
            ["--workdir=a", "--config=dksee:none"],
            'there is no config "dksee"; did you mean "dkse"?',
        ),
        (
            ["--workdir=a", "--config", "best"],
            'there is no config "best"; choose one of art5, base, demo, dkse, domainnet_media',
        ),
        (["--workdir=a", "--config"], "Missing value for flag --config"),
        (
            ["--workdir=a", "--config=dkse:beast"],
            'no variant "beast" of the config dkse; did you mean "best"?',
        ),
        (
            ["--workdir=a", f"--config={ROOT}/pyproject.toml"],
            f"the config file {ROOT}/pyproject.toml is not a Python file",
        ),
        (
            ["--workdir=a", BASE + ":figure10"],
            f"--config is {ROOT}/configs/base.py:figure10, but that config file has no variants",
        ),
        (
            ["--workdir=a", BASE, "--config.model.reducton=16"],
            'config.model.reducton is not a field; did you mean "config.model.reduction"?',
        ),
        (
            ["--workdir=a", BASE, "--config.mdel.reduction=16"],
            'config.mdel.reduction is not a field; did you mean "config.model.reduction"?',
        ),
        (
            ["--workdir=a", "--config.seed=1", BASE],
            "--config.seed=1 needs --config=FILE before it",
        ),
        (
            ["--workdir=a", BASE, "--config.train.batch_size=abc"],
            "--config.train.batch_size is abc, but must be a whole number",
        ),
        (
            ["--workdir=a", BASE, "--config.train.batch_size=2.5"],
            "--config.train.batch_size is 2.5, but must be a whole number",
        ),
        (
            ["--workdir=a", BASE, "--config.augment.flip=x"],
            "--config.augment.flip is x, but must be a number",
        ),
        (
            ["--workdir=a", BASE, "--config.log.tensorboard=maybe"],
            "--config.log.tensorboard is maybe, but must be true or false",
        ),
        (
            ["--workdir=a", BASE, "--config.model.kernel_sizes=(3,"],
            "--config.model.kernel_sizes is (3,, but must be a tuple such as (3,5)",
        ),
        (
            ["--workdir=a", BASE, "--config.model.kernel_sizes=(3,'a')"],
            "config.model.kernel_sizes is (3, 'a'), but must be a tuple of whole numbers such as "
            "(3, 5)",
        ),
        (
            ["--workdir=a", BASE, "--config.train.batch_size=0"],
            "config.train.batch_size is 0, but must be at least 1",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(script, arguments, sentence):
    code, config, out, err = script.run(*arguments)
    assert (code, config, out, err) == (2, None, "", sentence + "\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def get_config(\n", "line 1: '(' was never closed"),
        ("x = 1\n", "the config file has no function get_config"),
        ("def get_config(variant):\n    pass\n", "but must name a variant, as in"),
        (
            "from dkse_jax.errors import UserError\n\n"
            "def get_config():\n    raise UserError('there is no variant x')\n",
            "there is no variant x\n",
        ),
    ],
)
def test_a_config_file_of_the_users_with_a_mistake(script, tmp_path, text, sentence):
    (tmp_path / "own.py").write_text(text)
    code, _, _, err = script.run("--workdir=a", f"--config={tmp_path}/own.py")
    assert code == 2
    assert sentence in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("error", ["KeyError", "ValueError", "TypeError", "AttributeError"])
def test_a_bug_in_a_config_file_keeps_its_traceback(script, tmp_path, error):
    (tmp_path / "own.py").write_text(f"def get_config():\n    raise {error}('a bug')\n")
    with pytest.raises(Exception, match="a bug") as caught:
        script.run("--workdir=a", f"--config={tmp_path}/own.py")
    assert type(caught.value).__name__ == error


def test_what_main_raises(script):
    script.raises = UserError("the folder is empty")
    assert script.run("--workdir=a", BASE)[::3] == (2, "the folder is empty\n")
    script.raises = Interrupted(signal.SIGTERM)
    script.monkeypatch.setattr(cli.os, "_exit", sys.exit)
    assert script.run("--workdir=a", BASE)[::3] == (143, "stopped by SIGTERM\n")
    script.raises = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        script.run("--workdir=a", BASE)


def test_an_error_is_plain_text_and_each_mistake_a_line(script):
    script.raises = UserError('the class "a\nb\x1b]0;t\x07" of \u202e.jpg', "and\r another")
    code, _, _, err = script.run("--workdir=a", BASE)
    assert (code, err) == (
        2,
        'the class "a\ufffdb\ufffd]0;t\ufffd" of \ufffd.jpg\nand\ufffd another\n',
    )


def test_help_prints_the_docstring_and_the_flags(script):
    code, config, out, err = script.run("--help")
    assert (code, config, err) == (0, None, "")
    assert out.startswith("A small script of this test: flags, a config.\n")
    assert "--workdir: where the run is" in out
    assert "--images: how many" in out


def test_a_real_script_starts_without_jax_and_ends_with_code_2(tmp_path):
    (tmp_path / "script.py").write_text(
        textwrap.dedent('''
        """Does nothing."""
        import sys
        from absl import flags
        from ml_collections import config_flags
        from dkse_jax import cli
        import dkse_jax.workdir.journal
        from dkse_jax.errors import UserError

        CONFIG = config_flags.DEFINE_config_file("config")
        WORKDIR = flags.DEFINE_string("workdir", None, "where", required=True)

        def main():
            raise UserError(f"{CONFIG.value.seed} {WORKDIR.value} {'jax' in sys.modules}")

        if __name__ == "__main__":
            cli.run(main)
        ''')
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", "--workdir=w", BASE, "--config.seed=5"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "5 w False\n")


# flags of texts that are no paths
TEXTS = {"table", "split", "stage", "profile", "coordinator", "on_bad_image"}


@pytest.mark.parametrize("command", ["train", "eval", "ablate", "check", "pack"])
def test_every_path_may_begin_with_the_home_folder(command, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.py").write_text("def get_config():\n    return {}\n")
    values = copy.deepcopy(importlib.import_module(f"dkse_jax.cli.{command}").FLAGS)
    strings = {name for name in values if values[name].flag_type() == "string"} - TEXTS
    assert strings
    for name in strings:
        values[name].parse("~/runs/one")
        assert values[name].value == f"{tmp_path}/runs/one", name
    assert cli._config_file("~/own.py:a") == f"{tmp_path}/own.py:a"
    assert cli._config_file("dkse:sk").endswith("configs/dkse.py:sk")


def test_a_flag_of_several_values_takes_all_arguments_without_a_name(monkeypatch, capsys):
    values = flags.FlagValues()
    values.set_gnu_getopt()
    inputs = flags.DEFINE_multi_string("inputs", [], "the images", flag_values=values)
    flags.DEFINE_string("out", None, "the folder", flag_values=values)
    monkeypatch.setattr(sys, "argv", ["script", "--inputs=a", "b", "-", "--out=o", "c d"])
    cli.run(lambda: print(inputs.value), values, positional=("inputs",))
    assert capsys.readouterr().out == "['a', 'b', '-', 'c d']\n"


def test_one_argument_may_go_without_its_name(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["script", *arguments])
        values = flags.FlagValues()
        root = flags.DEFINE_string("root", None, "the images", flag_values=values)
        cli.run(lambda: print(root.value), values, positional=("root",))
        return capsys.readouterr().out

    assert run("art") == run("--root=art") == "art\n"
    for arguments, sentence in (
        (["art", "more"], '"more" is not a flag'),
        (["--root=art", "more"], '"more" is not a flag'),
    ):
        with pytest.raises(SystemExit) as end:
            run(*arguments)
        assert end.value.code == 2
        assert sentence in capsys.readouterr().err
