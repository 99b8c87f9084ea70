"""Molecules in space for encoders that see no positions. RDKit is imported when there is one."""

from __future__ import annotations

from molgen.domain import Invalid


def plain(item: str) -> str | Invalid:
    """The canonical SMILES of the text of a molecule file, or why it is no molecule."""
    from molgen_plugins.molecules.geometry import standard

    found = standard.canonical(item)
    return found if isinstance(found, Invalid) else str(found[0])
