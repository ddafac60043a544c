"""Where things are kept that can be made again: painted pictures, compiled programs."""

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """A folder of ours in the user's cache (XDG base directories); it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dkse_jax" / name
