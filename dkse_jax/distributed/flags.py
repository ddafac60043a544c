"""The flags with which a command joins the other processes of a run."""

from contextlib import AbstractContextManager

from absl import flags


def define(flag_values: flags.FlagValues) -> None:
    """Defines --distributed, --coordinator, --processes and --process."""
    flags.DEFINE_bool(
        "distributed",
        False,
        "Whether this is one of several processes.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "coordinator",
        None,
        "HOST:PORT of process 0; by default from the cluster, like the next two.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer("processes", None, "The number of processes.", flag_values=flag_values)
    flags.DEFINE_integer(
        "process", None, "The index of this process, from 0.", flag_values=flag_values
    )


def join_by_flags(flag_values: flags.FlagValues) -> AbstractContextManager[None]:
    """Joins the other processes as the flags specify: see `join.join`."""
    from dkse_jax.distributed.join import join

    return join(
        bool(flag_values["distributed"].value),
        flag_values["coordinator"].value,
        flag_values["processes"].value,
        flag_values["process"].value,
    )
