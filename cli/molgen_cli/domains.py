"""Which domain is meant where nobody names one: what the data are, or the domain that molgen starts from."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import UsageError

if TYPE_CHECKING:
    from molgen.domain import Domain

#: The domain of whatever says nothing of its own; the other defaults follow from it.
DEFAULT = "molecules"
#: Items that are looked at for settings that fit the data.
LOOKED_AT = 100


def default_domain() -> type[Domain]:
    """The domain that molgen starts from.

    Raises:
        UsageError: it is not installed.
    """
    from molgen import registry

    found: type[Domain] = registry.get("domain", DEFAULT)
    return found


def default_model() -> str:
    """The embedded model that is used when nobody names one.

    Raises:
        UsageError: there is none.
    """
    name = default_domain().default_model
    if name is None:
        raise UsageError("no model is named; type --model NAME or FOLDER")
    return name


def recognised(path: Path) -> str | None:
    """The registry name of the domain that a file or folder seems to be of, if one recognises it.

    What ships with molgen comes before other plugins, and a plugin that fails recognises nothing.
    """
    from molgen import registry

    for plugin in sorted(registry.plugins("domain"), key=lambda plugin: not plugin.ours):
        try:
            if registry.get("domain", plugin.name).recognises(path):
                return plugin.name
        except Exception:
            continue
    return None


def encoder_for(name: str) -> str:
    """The encoder of a new model of a domain when nobody names one."""
    from molgen import registry

    return registry.get("domain", name).default_encoder or name


def fitting_settings(encoder: str, path: Path, column: str | None, format: str | None = None) -> dict[str, Any]:
    """Settings of an encoder that fit the first items of a file, where it knows how to find them.

    Raises:
        UsageError: the file cannot be read.
    """
    from molgen.config import part_class
    from molgen.domain import Encoder
    from molgen.registry import get
    from molgen.workers.inspector import Inspector

    cls = part_class("encoder", encoder)
    if not any("settings_for" in vars(one) for one in cls.mro()[: cls.mro().index(Encoder)]):
        return {}  # which spares the reading
    domain = get("domain", encoder.partition(".")[0])()
    items = [record.item for record in islice(domain.read(path, format=format, column=column), LOOKED_AT)]
    with Inspector(domain, processes=1) as inspector:
        inspections = inspector.submit(items).result()
    return dict(cls.settings_for([inspection.item for inspection in inspections if inspection.item is not None]))
