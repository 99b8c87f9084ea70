"""The folder of what is fetched or computed once. This module imports nothing but the standard library."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: The environment variable that names the cache folder.
CACHE = "MOLGEN_CACHE"


def cache_folder() -> Path:
    """The folder for data: `MOLGEN_CACHE`, or `molgen` in the place that the platform has for caches."""
    named = os.environ.get(CACHE)
    return Path(named).expanduser() if named else _platform_caches() / "molgen"


def _platform_caches() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return Path(named) if os.path.isabs(named) else Path.home() / ".cache"
