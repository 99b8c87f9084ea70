"""Whether a plugin can be used, as far as metadata say: nothing is imported to find out. This module needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from molgen import registry
from molgen.registry import Plugin


def status(plugin: Plugin) -> str:
    """`ok`, or in a sentence why the bare name does not lead to it or what is not installed, and what to type."""
    return registry.note(plugin) or _missing(plugin) or "ok"


def _missing(plugin: Plugin) -> str:
    if plugin.ours or plugin.distribution == registry.SESSION:
        return ""
    package = plugin.module.partition(".")[0]
    if find_spec(package) is None:
        return f"broken: there is no module {package!r}; type: {plugin.repair}"
    needed = next(_requirements(plugin.distribution), "")
    return f"needs {needed}, which is not installed; type: pip install {needed}" if needed else ""


def _requirements(distribution: str) -> Iterator[str]:
    """The distributions that another always needs and that are not there; those of extras and markers are left out."""
    try:
        wanted = requires(distribution) or ()
    except PackageNotFoundError:
        return
    for requirement in wanted:
        found = re.match(r"[\w.-]+", requirement)
        if found and ";" not in requirement and not _is_installed(found[0]):
            yield found[0]


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
