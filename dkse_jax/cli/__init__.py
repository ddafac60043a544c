"""What all commands share: flags, and one sentence with exit code 2 for a mistake of the user."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from dkse_jax import interrupts
from dkse_jax.config import FIELDS, unknown_field, validate
from dkse_jax.console import claim_descriptors, flush, say, tell
from dkse_jax.errors import EXIT_CODE, UserError, nearest
from dkse_jax.files import expanded

flags.disclaim_key_flags()  # what `define_field` defines belongs to the module that calls it

_HELP = {"--help", "-help", "-h", "-?", "--helpfull"}
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def run(
    main: Callable[[], None],
    flag_values: flags.FlagValues = flags.FLAGS,
    positional: Sequence[str] = (),
) -> None:
    """Parses `sys.argv` into the flags, validates the config flag if there is one, calls `main`.

    A UserError, also from `main`, ends the program with its sentence and exit code 2; SIGINT and
    SIGTERM with 130 and 143 (see `interrupts`); other exceptions are bugs and keep their
    traceback. `--help` prints the docstring of main's module. No print ends the program, whatever
    the terminal's encoding, also where the reader of a pipe is gone.

    Args:
        main: the command, without arguments.
        flag_values: its flags; one named config is of `config_flags.DEFINE_config_file`.
        positional: flags that may also be given without a name, in this order; one that takes
            several values takes all that are left.
    """
    claim_descriptors()
    for stream in (sys.stdout, sys.stderr):  # for what libraries print
        with contextlib.suppress(AttributeError, OSError):  # of a notebook, or closed
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        with interrupts.installed():
            if _HELP & set(sys.argv[1:]):
                say(_help(main, flag_values))
                sys.exit(0)
            _parse(main, flag_values, positional)
            main()
    except UserError as error:
        tell(error)
        sys.exit(EXIT_CODE)
    except interrupts.Interrupted as signal:
        say(str(signal), sys.stderr)
        flush(sys.stdout)
        os._exit(signal.exit_code)  # sys.exit would join threads, which may wait for data
    finally:
        flush(sys.stdout)


def define_field(name: str, flag_values: flags.FlagValues, note: str = "") -> flags.FlagHolder:
    """Defines --key for the config field section.key: its default, and its comment or a note."""
    field = FIELDS[name]
    define = flags.DEFINE_integer if field.kind is int else flags.DEFINE_float
    key = name.rpartition(".")[2]
    help_text = f"As config.{name}: {note or field.comment}."
    return define(key, field.default, help_text, flag_values=flag_values)


class _PathParser(flags.ArgumentParser[str]):
    def parse(self, argument: str) -> str:
        return expanded(argument)


def define_path(
    name: str,
    default: str | None,
    help_text: str,
    flag_values: flags.FlagValues = flags.FLAGS,
    *,
    required: bool = False,
) -> flags.FlagHolder:
    """Defines a flag of a file or folder; "~" is the home folder, which shells leave in --name=~/a.

    Takes the arguments of `flags.DEFINE_string`.
    """
    return flags.DEFINE(
        _PathParser(), name, default, help_text, flag_values=flag_values, required=required
    )


def _module(main: Callable[[], None]) -> str:
    """Returns the name under which absl registers the flags of main's module."""
    return sys.argv[0] if main.__module__ == "__main__" else main.__module__


def _help(main: Callable[[], None], flag_values: flags.FlagValues) -> str:
    docstring = sys.modules[main.__module__].__doc__ or ""
    return f"{docstring.strip()}\n\nflags:\n{flag_values.module_help(_module(main))}"


def _parse(
    main: Callable[[], None], flag_values: flags.FlagValues, positional: Sequence[str]
) -> None:
    has_config = "config" in flag_values
    arguments = _resolved(sys.argv[1:]) if has_config else sys.argv[1:]
    try:
        rest = flag_values([sys.argv[0], *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        names = [flag.name for flag in flag_values.get_key_flags_for_module(_module(main))]
        raise UserError(
            f"--{error.flagname} is not a flag{nearest(error.flagname, names)}"
        ) from error
    except flags.IllegalFlagValueError as error:
        raise UserError(_illegal_value(error, flag_values)) from error
    except flags.Error as error:
        raise UserError(str(error)) from error
    except SyntaxError as error:
        raise UserError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except AttributeError as error:
        if error.name != "get_config":
            raise
        raise UserError("the config file has no function get_config") from error
    for name in positional:
        if isinstance(flag_values[name], flags.MultiFlag):
            flag_values[name].value = [*(flag_values[name].value or ()), *rest]
            rest = []
        elif rest and flag_values[name].value is None:
            flag_values[name].value = flag_values[name].parser.parse(rest.pop(0))
    if rest:
        raise UserError(f'"{rest[0]}" is not a flag; write --name=value')
    if has_config and flag_values["config"].value is not None:
        validate(flag_values["config"].value)


def _resolved(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with the value of --config as a file; checks overridden fields.

    config_flags reports mistakes in these late, or as KeyError and AttributeError.
    """
    resolved, seen = list(arguments), False
    for index, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag in ("-config", "--config"):
            seen = True
            if equals:
                resolved[index] = f"{flag}={_config_file(value)}"
            elif index + 1 < len(arguments):
                resolved[index + 1] = _config_file(arguments[index + 1])
        elif found := re.match(r"--?(?:no)?config\.(.*)", flag):
            if mistake := unknown_field(found[1]):
                raise UserError(mistake)
            if not seen:
                raise UserError(f"{argument} needs --config=FILE before it")
    return resolved


def _config_file(value: str) -> str:
    """Returns FILE:VARIANT; a value such as dkse:figure10 names a config of the package."""
    name, colon, variant = value.partition(":")
    path, own = Path(expanded(name)), Path(__file__).parents[1] / "configs"
    names = [file.stem for file in own.glob("[!_]*.py")]
    if name in names:
        return f"{own / name}.py{colon}{variant}"
    if path.name == name and not path.suffix:
        raise UserError(f'there is no config "{name}"{nearest(name, names)}')
    if not path.is_file():
        files = [file.name for file in path.parent.glob("*.py")]
        raise UserError(f"there is no config file {path}{nearest(path.name, files)}")
    if path.suffix != ".py":
        raise UserError(f"the config file {path} is not a Python file")
    return f"{path}{colon}{variant}"


def _illegal_value(error: flags.IllegalFlagValueError, flag_values: flags.FlagValues) -> str:
    """Returns the sentence about a value that a flag does not accept."""
    name, _, value = str(error).removeprefix("flag --").partition("=")
    if "must have a value other than None" in value:
        return f"--{name} is missing: {flag_values[name].help}"
    value = value.removesuffix(f": {error.__context__}")
    if name == "config" and error.__context__:
        return _config_mistake(value, error.__context__)
    kind = flag_values[name].flag_type()
    if kind in _KINDS:
        return f"--{name} is {value}, but must be {_KINDS[kind]}"
    if name.startswith("config."):
        return f"--{name} is {value}, but must be a tuple such as (3,5)"
    return f"--{name} is {value}: {error.__context__}"


def _config_mistake(value: str, cause: BaseException) -> str:
    """Returns the sentence about a call of get_config, or raises what get_config raised."""
    original = cause.__context__ or cause  # config_flags raises a copy with the traceback as text
    if isinstance(original, TypeError) and "get_config() takes 0" in str(original):
        return f"--config is {value}, but that config file has no variants"
    if isinstance(original, TypeError) and "get_config() missing" in str(original):
        return f"--config is {value}, but must name a variant, as in {value}:VARIANT"
    raise original
