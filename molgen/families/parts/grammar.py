"""What the grammars of fields say along the walk.

Letters in shapes: B batch, A rows still growing, S slices of one field, K classes, W width of a head.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from molgen.space import Categorical, Field, Grammar, GrammarState, Space


def grammar_of(field: Field) -> Grammar | None:
    """The grammar of a field, if it has one."""
    return field.grammar if isinstance(field, Categorical) else None


@dataclass(frozen=True)
class Advice:
    """What can come at some places, and which of it closes what is open, END as the last: bool (..., K + 1) each."""

    possible: Tensor
    closing: Tensor

    @classmethod
    def of(cls, readings: Iterable[GrammarState]) -> Advice:
        """The advice of some readings, (A, K + 1)."""
        own = list(readings)
        possible = np.concatenate([reading.possible() for reading in own]).reshape(len(own), -1)
        closing = np.concatenate([reading.closing() for reading in own]).reshape(len(own), -1)
        return cls(torch.from_numpy(possible), torch.from_numpy(closing))

    def followed(self, logits: Tensor) -> Tensor:
        """Logits (..., W) after it: what cannot come has no probability, and what closes has that of END as well.

        What is open when a model wants to end was forgotten rather than meant: shared out among all classes, the
        probability of END would make it go on at random.
        """
        width = logits.shape[-1]
        possible, closing = self.possible[..., :width].to(logits.device), self.closing[..., :width].to(logits.device)
        followed = logits.masked_fill(~possible, -torch.inf)
        if width < self.possible.shape[-1]:
            return followed
        where = torch.nonzero(~possible[..., -1] & closing.any(-1), as_tuple=True)
        own = logits[where]
        total = torch.logsumexp(own.masked_fill(~closing[where], -torch.inf), -1, keepdim=True)
        more = torch.where(closing[where], softplus(own[..., -1:] - total), 0.0)
        return followed.index_put(where, followed[where] + more)


def advice_along(grammar: Grammar, ids: Tensor, mask: Tensor) -> Advice:
    """The advice at each slice of whole rows, (B, S, K + 1); anything can come behind their ends.

    Args:
        grammar: of the field.
        ids: the choices at its slices, (B, S).
        mask: which slices a row takes part in, (B, S).
    """
    lengths = mask.sum(1).tolist()
    before = [_before(grammar, row[:count]) for row, count in zip(ids.tolist(), lengths, strict=True)]
    own = Advice.of(reading for row in before for reading in row)
    possible = torch.ones(*ids.shape, own.possible.shape[-1], dtype=torch.bool)
    closing = torch.zeros_like(possible)
    # A row takes part in its first slices, so these places come in the order of the readings.
    possible[mask.cpu()], closing[mask.cpu()] = own.possible, own.closing
    return Advice(possible, closing)


def _before(grammar: Grammar, row: Sequence[int]) -> Iterable[GrammarState]:
    """The reading before each choice of a row; the last choice, which may be END, is not read."""
    return accumulate(row[:-1], lambda reading, choice: reading.after(choice), initial=grammar.start()) if row else ()


class Readings:
    """The readings of the rows of a batch that grows slice by slice."""

    def __init__(self, space: Space, rows: int) -> None:
        grammars = {name: grammar for name, field in space.items() if (grammar := grammar_of(field))}
        self._readings: Mapping[str, list[GrammarState]] = {
            name: [grammar.start() for _ in range(rows)] for name, grammar in grammars.items()
        }

    def followed(self, name: str, rows: Tensor, growing: Tensor, logits: Tensor) -> Tensor:
        """The logits (A, W) of a field in some rows (A,) after the advice; those of rows that have ended stay."""
        if name not in self._readings:
            return logits
        alive = growing.nonzero()[:, 0]
        advice = Advice.of(self._readings[name][row] for row in rows[alive].tolist())
        return logits.index_copy(0, alive, advice.followed(logits[alive]))

    def read(self, name: str, rows: Tensor, growing: Tensor, choice: Tensor) -> None:
        """Go on by one choice (A,) in the rows that have not ended."""
        if own := self._readings.get(name):
            for row, number in zip(rows[growing].tolist(), choice[growing].tolist(), strict=True):
                own[row] = own[row].after(number)
