"""Which domain is meant where nobody names one: what the data are, or the domain that molgen starts from."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molgen.errors import UsageError

if TYPE_CHECKING:
    from molgen.data.records import Record
    from molgen.domain import Domain, Item

#: The domain of whatever says nothing of its own; the other defaults follow from it.
DEFAULT = "molecules"
#: Items that are looked at for settings that fit the data, and their bytes: pictures may be large.
LOOKED_AT, LOOKED_AT_BYTES = 100, 64 << 20


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

    cls = part_class("encoder", encoder)
    if not any("settings_for" in vars(one) for one in cls.mro()[: cls.mro().index(Encoder)]):
        return {}  # which spares the reading
    domain = get("domain", encoder.partition(".")[0])()
    return dict(cls.settings_for(_first_items(domain, domain.read(path, format=format, column=column))))


def _first_items(domain: Domain, records: Iterable[Record]) -> list[Item]:
    """The first items in canonical form, without those that are none."""
    from molgen.workers.inspector import Inspector
    from molgen.workers.stream import byte_size, chunked

    found: list[Item] = []
    room = LOOKED_AT_BYTES
    with Inspector(domain, processes=1) as inspector:
        chunks = chunked(islice(records, LOOKED_AT), LOOKED_AT)
        with closing(inspector.stream(chunks, lambda record: record.item)) as parts:
            for inspection in chain.from_iterable(inspections for _, inspections in parts):
                if room <= 0:
                    break
                if inspection.item is not None:
                    found.append(inspection.item)
                    room -= byte_size(inspection.item)
    return found
