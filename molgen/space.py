"""What a sample is made of: named, typed fields over named axes. This module imports no torch.

Letters in shapes: B batch, N elements along an axis, K classes, C channels.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Axis:
    """A direction along which elements are arranged; fields that name the same axis share its size.

    A `variable` axis has between `minimum` and `maximum` elements, a size of its own in every
    sample; a fixed axis always has `maximum`. Along an axis that is not `ordered` positions carry
    no meaning, so no network may look at them.
    """

    name: str
    maximum: int
    minimum: int = 1
    variable: bool = True
    ordered: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= self.maximum or self.maximum < 1:
            raise ValueError(
                f"axis {self.name!r}: sizes must satisfy 0 <= minimum <= maximum and 1 <= maximum, "
                f"not {self.minimum} and {self.maximum}"
            )


@dataclass(frozen=True)
class Field:
    """One typed tensor of a sample, of shape (B, *axes, *channels); third parties can add kinds.

    A kind holds a floating-point number for each place and channel, each of them free, unless it is taught otherwise.
    """

    axes: tuple[Axis, ...] = ()

    @property
    def channels_shape(self) -> tuple[int, ...]:
        """The shape behind the axes."""
        return ()


@dataclass(frozen=True)
class Real(Field):
    """Real numbers, shape (B, *axes, *channels).

    `levels=L` says that the values are quantised: the sample of an encoder holds the level numbers
    k of 0..L-1, the tensor of a batch the values (2k+1)/L - 1. `centred` says that the mean over the
    first axis is zero. `rotates` says that the last channel is a vector in space, so that only
    equivariant networks may transform it. A `symmetric` field has the same axis twice; x[i, j] = x[j, i], and the
    diagonal is always 0: numbers of pairs, such as distances.

    Every number of a sample is finite. Where values can be missing, as in tables with gaps, an encoder declares a field
    `Categorical(axes, classes=2)` before the numbers that says which are there, holds 0 (or another constant) for the
    others, and leaves these out when it decodes: all families learn such a space, and the autoregressive one decides
    first whether there is a value.

    Raises:
        ValueError: parts of the description contradict each other.
    """

    channels: tuple[int, ...] = ()
    levels: int | None = None
    centred: bool = False
    rotates: bool = False
    symmetric: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.channels, tuple):
            raise ValueError(f"channels are a tuple, such as ({self.channels!r},), not {self.channels!r}")
        _require_pairs(self, self.symmetric)
        if self.centred and len(self.axes) != 1:
            raise ValueError("a centred field has exactly one axis, over which its mean is zero")
        if self.rotates and not self.channels:
            raise ValueError("a field that rotates needs a channel dimension: the vector in space")
        if self.levels is not None and (self.centred or self.rotates):
            raise ValueError("a quantised field can be neither centred nor rotating")

    @property
    def channels_shape(self) -> tuple[int, ...]:
        """The shape behind the axes."""
        return self.channels


class GrammarState(ABC):
    """What was read of one row of classes, from its beginning; it does not change, and rows may share it."""

    __slots__ = ()

    @abstractmethod
    def possible(self) -> np.ndarray:
        """Which classes can come next, and whether the row can end here, as the last: bool (K + 1,)."""

    @abstractmethod
    def toward_end(self) -> np.ndarray:
        """Which of these bring an end nearer that is not possible yet, bool (K + 1,)."""

    @abstractmethod
    def after(self, token: int) -> GrammarState:
        """The state with one more class, be it possible or not."""


class Grammar(ABC):
    """Says which rows of classes can stand for something; equal grammars compare and hash alike."""

    @abstractmethod
    def start(self) -> GrammarState:
        """The state of an empty row."""


@dataclass(frozen=True)
class Categorical(Field):
    """One of `classes` classes at each place, as ids of shape (B, *axes).

    A `symmetric` field has the same axis twice; x[i, j] = x[j, i], and the diagonal is always 0.

    Along one ordered axis a field can have a `grammar`. A family that decides class after class gives what it rules out
    no probability; for any other, rows that it rules out are samples like all others.
    """

    classes: int = 2
    symmetric: bool = False
    grammar: Grammar | None = None

    def __post_init__(self) -> None:
        if self.grammar is not None and (len(self.axes) != 1 or not self.axes[0].ordered):
            raise ValueError("a field with a grammar needs one ordered axis, along which it is read")
        if self.classes < 1:
            raise ValueError(f"a categorical field needs at least one class, not {self.classes}")
        _require_pairs(self, self.symmetric)


Space = Mapping[str, Field]


def _require_pairs(field: Field, symmetric: bool) -> None:
    if symmetric and not is_pairwise(field):
        raise ValueError("a symmetric field needs the same axis twice")


class Layout(enum.Enum):
    """How the elements of a sample are arranged; this alone chooses the default network."""

    RECORD = "record"
    SEQUENCE = "sequence"
    SET = "set"
    GRID = "grid"
    GRAPH = "graph"
    POINTS = "points"


def axes(space: Space) -> dict[str, Axis]:
    """All axes of a space by name, in the order in which its fields name them.

    Raises:
        ValueError: two fields describe an axis of one name differently.
    """
    found: dict[str, Axis] = {}
    for name, field in space.items():
        for axis in field.axes:
            if found.setdefault(axis.name, axis) != axis:
                raise ValueError(f"field {name!r} describes the axis {axis.name!r} differently from another field")
    return found


def variable_axes(space: Space) -> dict[str, Axis]:
    """The axes that have a size of their own in every sample."""
    return {name: axis for name, axis in axes(space).items() if axis.variable}


def without_grammars(space: Space) -> dict[str, Field]:
    """The space of the same samples, in which nothing is ruled out."""
    return {
        name: replace(field, grammar=None) if isinstance(field, Categorical) else field for name, field in space.items()
    }


def is_pairwise(field: Field) -> bool:
    """Whether the field has a value for each pair of elements of one axis."""
    return len(field.axes) == 2 and field.axes[0] == field.axes[1]


def is_symmetric(field: Field | None) -> bool:
    """Whether the two orders of a pair have one value, and a place with itself has none."""
    return isinstance(field, Categorical | Real) and field.symmetric


def layout(space: Space) -> Layout:
    """The arrangement that a space describes."""
    fields = space.values()
    if any(isinstance(field, Real) and field.rotates for field in fields):
        return Layout.POINTS
    if any(is_pairwise(field) for field in fields):
        return Layout.GRAPH
    if any(len(field.axes) > 1 for field in fields):
        return Layout.GRID
    found = axes(space)
    if not found:
        return Layout.RECORD
    return Layout.SEQUENCE if all(axis.ordered for axis in found.values()) else Layout.SET


class Slice(NamedTuple):
    """One step of the generation order: an element, and whether a variable axis may end here.

    With `ends` set, the step first decides whether that axis has exactly `index[0]` elements.
    """

    field: str
    index: tuple[int, ...]  # type: ignore[assignment]
    ends: str | None = None


def order(space: Space, lengths: Mapping[str, int]) -> list[Slice]:
    """The order in which an autoregressive model decides the elements of a sample.

    Axis-free fields come first. Then, for each leading axis and each of its indices i: the END
    decision, the fields at i in the order of the space, and the pair elements (i, j < i).

    Args:
        space: the fields.
        lengths: how many indices of each axis to list; for a variable axis, list one more than
            the largest size below the maximum, so that its END has a place.

    Raises:
        ValueError: no step, or only a later one, decides the size of an axis.
    """
    slices = [Slice(name, ()) for name, field in space.items() if not field.axes]
    leading = list(dict.fromkeys(field.axes[0] for field in space.values() if field.axes))
    _require_decided_sizes(space)
    for axis in leading:
        for i in range(lengths[axis.name]):
            slices += _slices_at(space, axis, i, lengths)
    return slices


def _require_decided_sizes(space: Space) -> None:
    for name, field in space.items():
        if is_pairwise(field):
            continue
        for axis in field.axes[1:]:
            if axis.variable:
                raise ValueError(
                    f"field {name!r}: the size of the variable axis {axis.name!r} would have to be known before its "
                    "first element; only the leading axis of a field, or both axes of a pair field, can vary"
                )
    for axis in variable_axes(space).values():
        fields = [field for field in space.values() if axis in field.axes]
        if all(is_symmetric(field) for field in fields):
            raise ValueError(f"the variable axis {axis.name!r} needs a field with an element at its first index")


def _slices_at(space: Space, axis: Axis, i: int, lengths: Mapping[str, int]) -> Iterator[Slice]:
    ends = axis.name if axis.variable else None
    for name, field in space.items():
        if not field.axes or field.axes[0] != axis:
            continue
        for index in _indices(field, i, lengths):
            yield Slice(name, index, ends)
            ends = None


def _indices(field: Field, i: int, lengths: Mapping[str, int]) -> Iterator[tuple[int, ...]]:
    """The indices of a field that are decided at index i of its leading axis."""
    if is_symmetric(field):
        yield from ((i, j) for j in range(i))
    elif is_pairwise(field):
        yield from (pair for j in range(i) for pair in ((i, j), (j, i)))
        yield (i, i)
    else:
        tails: list[tuple[int, ...]] = [(i,)]
        for axis in field.axes[1:]:
            tails = [(*head, j) for head in tails for j in range(lengths[axis.name])]
        yield from tails
