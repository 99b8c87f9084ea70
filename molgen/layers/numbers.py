"""How networks read a kind of field that none of them knows: as numbers at each place.

Letters in shapes: B batch, E places, P numbers, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from molgen.kinds import primitive
from molgen.space import Field


@dataclass(frozen=True)
class Numbers:
    """What stands for the elements of a field.

    Attributes:
        count: P, how many numbers for each place.
        of: from the tensor of a field, (B, *axes, *channels), to its numbers, (B, *axes, P).
    """

    count: int
    of: Callable[[Tensor], Tensor]


@primitive
def numbers_of(field: Field) -> Numbers | None:
    """What every network reads of a field that it has no way of its own for; None where nothing says so."""
    return None


class NumbersEmbedding(nn.Module):
    """The numbers of a field as vectors, (B, *axes, D).

    Args:
        numbers: of the field.
        network: from P numbers to D.
    """

    def __init__(self, numbers: Numbers, network: nn.Module) -> None:
        super().__init__()
        self.numbers, self.network = numbers, network

    def forward(self, values: Tensor) -> Tensor:
        """(B, *axes, *channels) to (B, *axes, D)."""
        return self.network(self.numbers.of(values).to(next(self.network.parameters())))
