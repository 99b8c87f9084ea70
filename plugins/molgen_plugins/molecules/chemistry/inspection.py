"""What there is to say of one molecule, as plain data; made to run in a worker that may be killed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rdkit import Chem

from molgen.domain import Invalid
from molgen_plugins.molecules.chemistry import rdkit_io as chem
from molgen_plugins.molecules.chemistry.features import FEATURES
from molgen_plugins.molecules.chemistry.features import compute as compute_features
from molgen_plugins.molecules.chemistry.filters import closed_shell, passes
from molgen_plugins.molecules.chemistry.memo import together
from molgen_plugins.molecules.chemistry.properties import PROPERTIES, compute
from molgen_plugins.molecules.chemistry.smarts import substructure
from molgen_plugins.molecules.geometry import features as spatial
from molgen_plugins.molecules.geometry import standard as geometry
from molgen_plugins.molecules.geometry.standard import is_spatial


@dataclass(frozen=True)
class Inspection:
    """One item inspected.

    Attributes:
        smiles: the canonical SMILES, a `Conformer` where it has positions, or None where the item is no molecule.
        error: why it is none, or None.
        properties: the properties asked for by name, NaN where one cannot be computed; empty for no molecule.
        passes: whether it passes the filters, or None where that was not asked or there is no molecule.
        flags: whether it passes each filter, by name; empty where `passes` is None.
        features: the features asked for by name, see `features.FEATURES` and `geometry.features`; for no molecule those
            of its atoms alone, where they have positions.
        matches: whether it has each substructure, by its SMARTS; empty for no molecule.
    """

    smiles: str | None
    error: str | None = None
    properties: Mapping[str, float] = field(default_factory=dict)
    passes: bool | None = None
    flags: Mapping[str, bool] = field(default_factory=dict)
    features: Mapping[str, Any] = field(default_factory=dict)
    matches: Mapping[str, bool] = field(default_factory=dict)


def inspector(
    properties: Sequence[str] = (),
    filters: bool = False,
    features: Sequence[str] = (),
    patterns: Sequence[str] = (),
) -> Callable[[str], Inspection]:
    """A function that inspects one item, a SMILES string or a geometry; it never raises on bad data.

    All that it says is of the molecule that the canonical SMILES stands for, so that two spellings of a
    molecule are given the same, to the last digit.

    Args:
        properties: names of the properties to compute.
        filters: whether to apply the filters.
        features: names of the features to compute.
        patterns: substructures to look for, as SMARTS.

    Raises:
        ValueError: a property or a feature is not known, or a pattern is no SMARTS.
    """
    return _inspector(standard, properties, filters, features, patterns)


def canonical_inspector(
    properties: Sequence[str] = (),
    filters: bool = False,
    features: Sequence[str] = (),
    patterns: Sequence[str] = (),
) -> Callable[[str], Inspection]:
    """The same for strings that count as canonical: two thirds of the time go into finding that out.

    Raises:
        ValueError: as `inspector`.
    """
    return _inspector(_as_written, properties, filters, features, patterns)


def _as_written(item: str) -> tuple[str, Chem.Mol] | Invalid:
    if isinstance(item, str) and "\n" in item:  # the text of a molecule file
        return geometry.canonical(item)
    found = chem.parse(str(item) if isinstance(item, str) else item)
    return found if isinstance(found, Invalid) else (item, found)


def _inspector(
    read: Callable[[str], tuple[str, Chem.Mol] | Invalid],
    properties: Sequence[str],
    filters: bool,
    features: Sequence[str],
    patterns: Sequence[str],
) -> Callable[[str], Inspection]:
    _check("property", properties, PROPERTIES)
    _check("feature", features, (*FEATURES, *spatial.FEATURES))
    asked = tuple(properties), filters, tuple(features), {text: substructure(text) for text in patterns}
    # Tables are loaded now, so that their time is not charged to the first item.
    spatial.prepare(features)
    _inspect("CC", read("CC"), *asked)
    return lambda item: _inspect(item, read(item), *asked)


def _check(what: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} {name!r}: there are {', '.join(known)}")


def standard(item: str) -> tuple[str, Chem.Mol] | Invalid:
    """The canonical form of an item, with positions or without, and its molecule; or why there is none."""
    if isinstance(item, str) and is_spatial(item):
        return geometry.canonical(item)
    return chem.standard(item)


def _inspect(
    item: str,
    found: tuple[str, Chem.Mol] | Invalid,
    names: Sequence[str],
    filtered: bool,
    wanted: Sequence[str],
    patterns: Mapping[str, Chem.Mol],
) -> Inspection:
    of_rows = [name for name in wanted if name in spatial.ROW_FEATURES]
    if isinstance(found, Invalid):
        return Inspection(None, error=found.reason, features=spatial.of_row(item, None, of_rows))
    written, molecule = found
    with together(molecule):
        flags = {"closed-shell": closed_shell(molecule), "moses": passes(molecule)} if filtered else {}
        return Inspection(
            written,
            properties=compute(molecule, names) if names else {},
            passes=all(flags.values()) if filtered else None,
            flags=flags,
            features={
                **compute_features(molecule, [name for name in wanted if name in FEATURES]),
                **spatial.of_row(item, written, of_rows),
                **spatial.of_molecule(written, [name for name in wanted if name in spatial.CONFORMER_FEATURES]),
            },
            matches={text: molecule.HasSubstructMatch(pattern) for text, pattern in patterns.items()},
        )
