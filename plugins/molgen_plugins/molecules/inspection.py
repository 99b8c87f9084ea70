"""What there is to say of one SMILES string, as plain data; made to run in a worker that may be killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from molgen.domain import Invalid
from molgen_plugins.molecules import chem
from molgen_plugins.molecules.filters import passes
from molgen_plugins.molecules.properties import PROPERTIES, compute


@dataclass(frozen=True)
class Inspection:
    """One string inspected.

    Attributes:
        smiles: the canonical SMILES, or None where the string is no molecule.
        error: why it is none, or None.
        properties: the properties asked for by name, NaN where one cannot be computed; empty for no molecule.
        passes: whether it passes the filters, or None where that was not asked or there is no molecule.
    """

    smiles: str | None
    error: str | None = None
    properties: Mapping[str, float] = field(default_factory=dict)
    passes: bool | None = None


def inspector(properties: Sequence[str] = (), filters: bool = False) -> Callable[[str], Inspection]:
    """A function that inspects one SMILES string; it never raises on bad data.

    Args:
        properties: names of the properties to compute.
        filters: whether to apply the filters.

    Raises:
        ValueError: a property is not known.
    """
    unknown = [name for name in properties if name not in PROPERTIES]
    if unknown:
        raise ValueError(f"no property {unknown[0]!r}: there are {', '.join(PROPERTIES)}")
    names = tuple(properties)
    # Tables are loaded now, so that their time is not charged to the first item.
    _inspect("CC", names, filters)
    return lambda smiles: _inspect(smiles, names, filters)


def _inspect(smiles: str, names: Sequence[str], filtered: bool) -> Inspection:
    molecule = chem.parse(smiles)
    if isinstance(molecule, Invalid):
        return Inspection(None, error=molecule.reason)
    written = chem.write(molecule)
    if isinstance(written, Invalid):
        return Inspection(None, error=written.reason)
    values = compute(molecule, names) if names else {}
    return Inspection(written, properties=values, passes=passes(molecule) if filtered else None)
