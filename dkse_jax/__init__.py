"""The dual-kernel squeeze-and-excitation (DKSE) art classifier in JAX and Flax.

The names below are the public interface; each is imported when it is first used, so that
`import dkse_jax` loads no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dkse_jax.evaluation.run import evaluate as evaluate
    from dkse_jax.models import create_model as create_model
    from dkse_jax.models import list_models as list_models
    from dkse_jax.trained import Trained as Trained
    from dkse_jax.trained import load as load
    from dkse_jax.training.loop import train as train

    __version__: str

_MODULE_OF = {
    "Trained": "dkse_jax.trained",
    "create_model": "dkse_jax.models",
    "evaluate": "dkse_jax.evaluation.run",
    "list_models": "dkse_jax.models",
    "load": "dkse_jax.trained",
    "train": "dkse_jax.training.loop",
}
__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("dkse_jax")
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
