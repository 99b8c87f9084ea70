"""What the grammars of fields allow in the generation order.

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
class LogitMask:
    """Which tokens can come at some places, and which lead toward an end, END as the last: bool (..., K + 1) each."""

    possible: Tensor
    toward_end: Tensor

    @classmethod
    def of(cls, states: Iterable[GrammarState]) -> LogitMask:
        """The mask of some states, (A, K + 1)."""
        own = list(states)
        possible = np.concatenate([state.possible() for state in own]).reshape(len(own), -1)
        toward_end = np.concatenate([state.toward_end() for state in own]).reshape(len(own), -1)
        return cls(torch.from_numpy(possible), torch.from_numpy(toward_end))

    def apply(self, logits: Tensor) -> Tensor:
        """Logits (..., W) without what cannot come; what leads toward an end has the probability of END as well.

        What is open when a model wants to end was forgotten rather than meant: shared out among all classes, the
        probability of END would make it go on at random.
        """
        width = logits.shape[-1]
        possible = self.possible[..., :width].to(logits.device)
        toward_end = self.toward_end[..., :width].to(logits.device)
        masked = logits.masked_fill(~possible, -torch.inf)
        if width < self.possible.shape[-1]:
            return masked
        where = torch.nonzero(~possible[..., -1] & toward_end.any(-1), as_tuple=True)
        own = logits[where]
        total = torch.logsumexp(own.masked_fill(~toward_end[where], -torch.inf), -1, keepdim=True)
        more = torch.where(toward_end[where], softplus(own[..., -1:] - total), 0.0)
        return masked.index_put(where, masked[where] + more)


def mask_of_rows(grammar: Grammar, ids: Tensor, mask: Tensor) -> LogitMask:
    """The mask at each slice of whole rows, (B, S, K + 1); anything can come behind their ends.

    Args:
        grammar: of the field.
        ids: the tokens at its slices, (B, S).
        mask: which slices a row takes part in, (B, S).
    """
    lengths = mask.sum(1).tolist()
    before = [_states(grammar, row[:count]) for row, count in zip(ids.tolist(), lengths, strict=True)]
    own = LogitMask.of(state for row in before for state in row)
    possible = torch.ones(*ids.shape, own.possible.shape[-1], dtype=torch.bool)
    toward_end = torch.zeros_like(possible)
    # A row takes part in its first slices, so these places come in the order of the states.
    possible[mask.cpu()], toward_end[mask.cpu()] = own.possible, own.toward_end
    return LogitMask(possible, toward_end)


def _states(grammar: Grammar, row: Sequence[int]) -> Iterable[GrammarState]:
    """The state before each token of a row; the last token, which may be END, is not read."""
    return accumulate(row[:-1], lambda state, token: state.after(token), initial=grammar.start()) if row else ()


class RowStates:
    """The states of the grammars in the rows of a batch that grows slice by slice."""

    def __init__(self, space: Space, rows: int) -> None:
        grammars = {name: grammar for name, field in space.items() if (grammar := grammar_of(field))}
        self._states: Mapping[str, list[GrammarState]] = {
            name: [grammar.start() for _ in range(rows)] for name, grammar in grammars.items()
        }

    def apply(self, name: str, rows: Tensor, growing: Tensor, logits: Tensor) -> Tensor:
        """The logits (A, W) of a field in some rows (A,) under its grammar; those of rows that have ended stay."""
        if name not in self._states:
            return logits
        alive = growing.nonzero()[:, 0]
        mask = LogitMask.of(self._states[name][row] for row in rows[alive].tolist())
        return logits.index_copy(0, alive, mask.apply(logits[alive]))

    def read(self, name: str, rows: Tensor, growing: Tensor, tokens: Tensor) -> None:
        """Go on by one token (A,) in the rows that have not ended."""
        if own := self._states.get(name):
            for row, token in zip(rows[growing].tolist(), tokens[growing].tolist(), strict=True):
                own[row] = own[row].after(token)
