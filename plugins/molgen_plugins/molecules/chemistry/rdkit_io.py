"""Reading and writing single molecules with RDKit: bounded, quiet, and with reasons in one line.

Atoms are counted from 0 as RDKit does, positions in a string are characters from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rdkit import Chem, rdBase

from molgen.domain import Invalid

#: A longer string is not read at all.
MAX_CHARACTERS = 10_000
#: Beyond these RDKit stores another number than the string says.
MAX_CHARGE, MAX_HYDROGENS, MAX_ISOTOPE = 15, 9, 999

#: Spaces, control characters, everything beyond ASCII, and "~", a bond of no kind.
_FOREIGN = re.compile(r"[^!-}]")
_ATOM = re.compile(r"\[(\d*)[^\]]*?(?:(?<!@T)(?<!@O)H(\d+))?(?:[+-](\d+))?(?::\d+)?\]")
_LIMITS = (("isotope", MAX_ISOTOPE), ("hydrogen count", MAX_HYDROGENS), ("charge", MAX_CHARGE))
_RINGS = re.compile(r"\[[^\]]*\]|%\((\d+)\)|%(\d\d)|(\d)")
_POSITION = re.compile(r"around position (\d+)")

#: RDKit's parser messages and ours; {groups} are those of the pattern, `at` names the position.
_SYNTAX = (
    (r"extra open parentheses", "unclosed branch{at}"),
    (r"extra close parentheses", "branch closed that was never opened{at}"),
    (r"ring closure (\d+) bonds atom (\d+) to itself", "ring {0} closes on its own atom {1}"),
    (r"ring closure (\d+) duplicates bond between atom (\d+) and atom (\d+)", "ring {0} repeats the bond {1}-{2}"),
    (r"Invalid chiral specification on atom (\d+)", "impossible chirality of atom {0}"),
    (r"number too large", "number too large{at}"),
    (r"syntax error", "syntax error{at}"),
)


def parse(smiles: str) -> Chem.Mol | Invalid:
    """The sanitised molecule of a SMILES string, or why there is none. Never raises on bad data.

    The attachment point `*` counts as an atom whose kind is open: a string may contain some, but
    not consist of them alone. Names and extensions behind a space are no part of a SMILES string.
    """
    with rdBase.BlockLogs():
        molecule = readable(smiles)
    return Invalid(cause(smiles)) if molecule is None else molecule


def readable(smiles: str) -> Chem.Mol | None:
    """The molecule that `parse` gives, or None, of which `cause` says the reason; the caller silences RDKit."""
    if _malformed(smiles):
        return None
    molecule = _read(smiles)
    return None if molecule is None or _excess(molecule, smiles) else molecule


def cause(smiles: str) -> str:
    """Why a string that is not readable is not."""
    malformed = _malformed(smiles)
    if malformed:
        return malformed
    with rdBase.BlockLogs():
        molecule = _read(smiles)
    excess = _excess(molecule, smiles) if molecule is not None else None
    return excess or _refusal(smiles)


def canonical(smiles: str) -> str | Invalid:
    """RDKit's canonical isomeric SMILES, which can itself be read; or why there is none."""
    found = standard(smiles)
    return found if isinstance(found, Invalid) else found[0]


def standard(smiles: str) -> tuple[str, Chem.Mol] | Invalid:
    """RDKit's canonical isomeric SMILES and the molecule that is read from it; or why there is none."""
    with rdBase.BlockLogs():  # once for all, because that takes a while
        molecule = readable(smiles)
        if molecule is not None:
            return _standard(molecule, smiles)
    return Invalid(cause(smiles))


def _standard(molecule: Chem.Mol, smiles: str) -> tuple[str, Chem.Mol] | Invalid:
    try:
        written = Chem.MolToSmiles(molecule)
    except RuntimeError as error:
        return Invalid(f"cannot be written as SMILES: {_first_line(error)}")
    if written == smiles:
        return written, molecule
    again = None if _malformed(written) else _read(written)
    if again is None:
        return Invalid(f"its canonical SMILES {written[:80]!r} cannot be read back")
    return written, again


def sanitised(molecule: Chem.Mol) -> Chem.Mol | Invalid:
    """The same molecule, sanitised in place, or the chemical reason why that cannot be; RDKit may log as well."""
    try:
        Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError) as error:
        return Invalid(chemical_cause(molecule, error))
    return molecule


def _read(smiles: str) -> Chem.Mol | None:
    try:
        return Chem.MolFromSmiles(smiles)
    except RuntimeError:  # a broken precondition inside RDKit
        return None


def _malformed(smiles: str) -> str | None:
    """What is wrong with a string before RDKit sees it; RDKit would read on over all of these."""
    if not isinstance(smiles, str):
        return f"a molecule is written as a SMILES string, not as {type(smiles).__name__}"
    if not smiles:
        return "the string is empty"
    if len(smiles) > MAX_CHARACTERS:
        return f"{len(smiles):,} characters are more than the {MAX_CHARACTERS:,} that are read of one molecule"
    foreign = _FOREIGN.search(smiles)
    if foreign:
        return f"character {foreign[0]!r} at position {foreign.start() + 1} belongs to no SMILES string"
    return _out_of_range(smiles) if "[" in smiles else None


def _out_of_range(smiles: str) -> str | None:
    for atom in _ATOM.finditer(smiles):
        for (name, limit), digits in zip(_LIMITS, atom.groups(), strict=True):
            if digits and int(digits) > limit:
                return f"{name} {digits[:20]} of atom '{atom[0][:20]}' is beyond {limit}"
    return None


def _excess(molecule: Chem.Mol, smiles: str) -> str | None:
    """Why a molecule is none of ours although RDKit reads it."""
    # To look at atoms takes a third of the time of reading them, so it is done only where one may be open.
    if ("*" in smiles or "#0" in smiles) and all(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        return "attachment points only, no atom"
    return None


def _refusal(smiles: str) -> str:
    """Why RDKit does not read a string."""
    messages, molecule = _unsanitised(smiles)
    if molecule is None:
        return _syntax_cause(smiles, messages)
    with rdBase.BlockLogs():
        found = sanitised(molecule)
    return found.reason if isinstance(found, Invalid) else "RDKit cannot read it"


def _unsanitised(smiles: str) -> tuple[str, Chem.Mol | None]:
    """What RDKit logs while it parses without sanitising, and its molecule."""
    capture = getattr(rdBase, "CaptureErrorLog", rdBase.BlockLogs)()  # older releases cannot capture
    with _no_warnings(), capture:
        try:
            molecule = Chem.MolFromSmiles(smiles, sanitize=False)
        except RuntimeError:
            molecule = None
    return getattr(capture, "messages", ""), molecule


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Silence only RDKit's warnings: blocking all logs would block the captured errors too."""
    enabled = "rdApp.warning:enabled" in rdBase.LogStatus()
    rdBase.DisableLog("rdApp.warning")
    try:
        yield
    finally:
        if enabled:
            rdBase.EnableLog("rdApp.warning")


def _syntax_cause(smiles: str, messages: str) -> str:
    place = _POSITION.search(messages)
    at = f" at position {place[1]}" if place else ""
    for pattern, reason in _SYNTAX:
        found = re.search(pattern, messages)
        if found:
            return reason.format(*found.groups(), at=at)
    rings = _open_rings(smiles)
    return f"unclosed ring {', '.join(rings)}" if rings else "not the syntax of SMILES"


def _open_rings(smiles: str) -> list[str]:
    """The numbers of rings that open and do not close, in the order in which they open."""
    rings: dict[str, None] = {}
    for match in _RINGS.finditer(smiles):
        number = match[1] or match[2] or match[3]
        if number and number in rings:
            del rings[number]
        elif number:
            rings[number] = None
    return [number.lstrip("0") or "0" for number in rings]


def chemical_cause(molecule: Chem.Mol, error: Exception) -> str:
    """What RDKit has against a molecule, in a line that names the atoms."""
    details: Any = getattr(error, "cause", None)
    if isinstance(error, Chem.AtomValenceException):
        return _valence_cause(molecule.GetAtomWithIdx(details.GetAtomIdx()), str(error))
    if isinstance(error, Chem.AtomKekulizeException):
        return f"atom {details.GetAtomIdx()} is aromatic but in no ring"
    if isinstance(error, Chem.KekulizeException):
        return f"cannot be kekulised: atoms {' '.join(str(atom) for atom in details.GetAtomIndices())}"
    return _first_line(error)


def _valence_cause(atom: Chem.Atom, message: str) -> str:
    name = f"valence of {atom.GetSymbol()} atom {atom.GetIdx()}"
    found = re.search(r", (\d+), is greater", message)
    if not found:
        return f"{name} is not allowed"
    # a charged atom binds like its neutral isoelectronic neighbour
    allowed = max(Chem.GetPeriodicTable().GetValenceList(max(atom.GetAtomicNum() - atom.GetFormalCharge(), 1)))
    return f"{name}: {found[1]} > {allowed}" if 0 <= allowed < int(found[1]) else f"{name}: {found[1]} is too high"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
