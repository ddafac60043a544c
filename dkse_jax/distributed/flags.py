"""The flags by which a script joins others of its kind, for `flags.adopt_module_key_flags`."""

from contextlib import AbstractContextManager

from absl import flags

DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Whether this is one of several processes.")
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0; by default, as the next two, the cluster says."
)
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes there are.")
PROCESS = flags.DEFINE_integer("process", None, "The number of this process, from 0.")


def joined_by_flags() -> AbstractContextManager[None]:
    """See `joined.joined`."""
    from dkse_jax.distributed.join import joined

    return joined(DISTRIBUTED.value, COORDINATOR.value, PROCESSES.value, PROCESS.value)
