"""The models that ship inside domain plugins, by name."""

from __future__ import annotations

from pathlib import Path

from molgen import registry
from molgen.errors import PluginError, UsageError
from molgen.model.checkpoint import MANIFEST


def embedded() -> dict[str, Path]:
    """The checkpoint folders that installed domains bring along; a broken plugin brings none."""
    found: dict[str, Path] = {}
    for name in registry.names("domain"):
        try:
            folder = registry.get("domain", name).pretrained
        except PluginError:
            continue
        if folder is not None and folder.is_dir():
            found |= {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{MANIFEST}"))}
    return found


def resolve(name: str | Path) -> Path:
    """The folder of a model, given as a folder or as the name of an embedded one.

    Raises:
        UsageError: neither exists.
    """
    path = Path(name)
    if path.exists() or path.is_absolute() or len(path.parts) > 1:
        return path
    models = embedded()
    if str(name) in models:
        return models[str(name)]
    known = ", ".join(sorted(models)) or "none"
    raise UsageError(f"no model {str(name)!r}: neither a folder nor an embedded model (embedded: {known})")
