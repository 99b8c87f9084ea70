"""What several properties and features need of one molecule, found once while they are computed together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

from rdkit.Chem import Mol

T = TypeVar("T")

_current: ContextVar[tuple[Mol, dict[Any, Any]] | None] = ContextVar("molecule", default=None)


@contextmanager
def together(molecule: Mol) -> Iterator[None]:
    """Within the block, what functions marked `once` find about this molecule is kept; it must not change there."""
    current = _current.get()
    if current is not None and current[0] is molecule:
        yield
        return
    token = _current.set((molecule, {}))
    try:
        yield
    finally:
        _current.reset(token)


def once(function: Callable[[Mol], T]) -> Callable[[Mol], T]:
    """Mark a function of a molecule whose result `together` keeps; elsewhere it is computed each time."""

    @wraps(function)
    def found(molecule: Mol) -> T:
        current = _current.get()
        if current is None or current[0] is not molecule:
            return function(molecule)
        if function not in current[1]:
            current[1][function] = function(molecule)
        return current[1][function]

    return found
