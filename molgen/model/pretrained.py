"""The models that ship inside domain plugins, by name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from molgen import registry
from molgen.errors import UsageError
from molgen.model.checkpoint import MANIFEST

#: The folder beside the module of a domain that holds its trained models, one checkpoint folder each.
FOLDER = "pretrained"


def embedded() -> dict[str, Path]:
    """The checkpoint folders that installed domains bring along; no domain is imported to find them."""
    found: dict[str, Path] = {}
    for plugin in registry.plugins("domain"):
        folder = _folder_of(plugin.module)
        if folder is not None and not registry.note(plugin):
            found |= {path.parent.name: path.parent for path in sorted((folder / FOLDER).glob(f"*/{MANIFEST}"))}
    return found


def _folder_of(module: str) -> Path | None:
    """The folder of a module, found without importing it or a package that it is in."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin).parent if spec.origin else None
    folders = [Path(place, *rest[:-1]) for place in spec.submodule_search_locations or ()]
    return next((folder for folder in folders if folder.is_dir()), None)


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
