"""Whether any molecule can begin with some tokens of SMILES: what is wrong already stays so, however it goes on."""

from __future__ import annotations

from collections.abc import Sequence

from rdkit import Chem, rdBase

from molgen_plugins.molecules.chemistry import rdkit_io as chem

_BONDS = frozenset(("-", "=", "#", "$", ":", "/", "\\", "~", "->", "<-", "."))


def contradiction(tokens: Sequence[str]) -> str:
    """Why no molecule begins with these tokens; an empty string where nothing speaks against it.

    Bonds only become more, so an atom that has too many of them is never right again. What further atoms may mend,
    such as an aromatic ring that is not closed, is not looked at.
    """
    whole = _closed(tokens)
    if not whole:
        return ""
    with rdBase.BlockLogs():
        try:
            molecule = Chem.MolFromSmiles(whole, sanitize=False)
            if molecule is None:
                return chem.cause(whole)
            molecule.UpdatePropertyCache(strict=True)
        except (ValueError, RuntimeError) as error:
            return chem.chemical_cause(molecule, error)
    return ""


def _closed(tokens: Sequence[str]) -> str:
    """The shortest string that goes on so: without bonds and rings that are open, and with all branches closed."""
    kept = [token for place, token in enumerate(tokens) if place not in _open_rings(tokens)]
    while kept and (kept[-1] in _BONDS or kept[-1] == "("):
        kept.pop()
    return "".join(kept) + ")" * (kept.count("(") - kept.count(")"))


def _open_rings(tokens: Sequence[str]) -> set[int]:
    """The places of ring numbers that are not closed, with a bond that is written before one."""
    opened: dict[str, int] = {}
    for place, token in enumerate(tokens):
        if token.isdigit() or token[0] == "%":
            number = token.strip("%()").lstrip("0")
            if opened.pop(number, None) is None:
                opened[number] = place
    bonds = {place - 1 for place in opened.values() if place and tokens[place - 1] in _BONDS}
    return {*opened.values(), *bonds}
