"""A recurrent network over rows of elements, read from both ends (Schuster & Paliwal 1997), all elements at once.

Causally the same name gives `causal`.

Letters in shapes: B batch, N places of an axis, D width, H width of one direction, W width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, pad, silu

from molgen.backbone import Backbone, Head, LinearHeads
from molgen.batch import Batch, Partial, field_mask
from molgen.errors import UnsupportedSpace
from molgen.layers.aligned_condition import AlignedCondition, split_condition
from molgen.layers.condition_embedding import ConditionEmbedding, with_rows
from molgen.layers.named import NamedModules
from molgen.layers.time_embedding import TimeEmbedding
from molgen.layers.token_embedding import element_embedding
from molgen.space import Axis, Field, Layout, Space, axes


class Bidirectional(LinearHeads, Backbone):
    """Reads each axis from both ends; what its ends know together with the fields without axes says the rest.

    A head over an axis that is read has the states of its places. One without axes reads the summary of all ends,
    and so does one over another axis of fixed size, such as the slots of a latent, with weights of its own for each
    place. One over another axis that varies, such as the elements that come out of a latent, has the states of a
    second network over its places, which reads the summary.

    A condition over an axis that is read or written so is read place by place, others by one vector.

    Raises:
        UnsupportedSpace: a field or a head has several axes, or one that is not ordered.
    """

    layouts = frozenset({Layout.SEQUENCE, Layout.RECORD})
    #: the cells of `recurrent`.
    cells: ClassVar[Mapping[str, type[nn.GRU] | type[nn.LSTM]]] = {"gru": nn.GRU, "lstm": nn.LSTM}

    def __init__(self, inputs: Space, outputs: Mapping[str, Head], config: Any, condition: Space | None = None) -> None:
        super().__init__(inputs, outputs, config, condition)
        heads = {f"head {name}": Field(head.axes) for name, head in outputs.items()}
        _require_rows({**inputs, **heads}, outputs)
        width = config.width
        self.read_axes = axes(inputs)
        others = {name: axis for name, axis in axes({**inputs, **heads}).items() if name not in self.read_axes}
        self.written_axes = {name: axis for name, axis in others.items() if axis.variable}
        self.value = NamedModules({name: element_embedding(field, width) for name, field in inputs.items()})
        self.time = TimeEmbedding(inputs, width)
        known = self.read_axes | self.written_axes
        placed, rest = split_condition(condition or {}, known, lambda own: len(own) == 1)
        self.placed = NamedModules({name: AlignedCondition(name, one, width) for name, one in placed.items()})
        self.condition = ConditionEmbedding(rest, width) if rest else None
        cell = self.cells[config.cell]
        self.readers = NamedModules({name: BothWays(cell, config) for name in self.read_axes})
        self.summary = nn.Linear(width * (1 + len(self.read_axes)), width)
        self.places = NamedModules({name: nn.Embedding(a.maximum, width) for name, a in self.written_axes.items()})
        self.writers = NamedModules({name: BothWays(cell, config) for name in self.written_axes})
        self.heads = NamedModules(
            {name: nn.Linear(width, head.width * self._places_at_once(head)) for name, head in outputs.items()}
        )

    def _places_at_once(self, head: Head) -> int:
        """For how many places a head says something from one vector."""
        known = {*self.read_axes, *self.written_axes}
        return head.axes[0].maximum if head.axes and head.axes[0].name not in known else 1

    def forward(
        self, batch: Batch, time: Tensor | Mapping[str, Tensor] | None, condition: Partial | None
    ) -> dict[str, Tensor]:
        """The outputs of every head, (B, *axes, W), zero in the padding.

        Args:
            batch: the inputs, and the sizes of the variable axes of inputs and heads.
            time: of each row, or of each field and row; None is time 0, data.
            condition: what is given; None is nothing.
        """
        batch = with_rows(batch, condition)
        about = self.time(time, len(batch))
        if self.condition is not None:
            about = about + self.condition(condition, len(batch))
        for name, field in self.inputs.items():
            if not field.axes:
                about = about + self.value[name](batch.fields[name][:, None])[:, 0]
        states, ends = {}, [about]
        for axis in self.read_axes.values():
            x, counts = self._elements(axis, batch, about)
            states[axis.name], end = self.readers[axis.name](self._conditioned(axis, x, condition), counts)
            ends.append(end)
        summary = silu(self.summary(torch.cat(ends, -1)))
        for axis in self.written_axes.values():
            x, counts = self._places(axis, batch, summary)
            states[axis.name], _ = self.writers[axis.name](self._conditioned(axis, x, condition), counts)
        return {name: self._read(name, batch, states, summary) for name in self.outputs}

    def _elements(self, axis: Axis, batch: Batch, about: Tensor) -> tuple[Tensor, Tensor]:
        """What is read at the places of an axis, (B, N, D), and how many of them exist, (B,)."""
        total = about.new_zeros(())
        for name, field in self.inputs.items():
            if field.axes == (axis,):
                exists = field_mask(self.inputs, batch, name)[..., None].to(about.device)
                total = total + torch.where(exists, self.value[name](batch.fields[name]), 0.0)
        return total + about[:, None], _counts(axis, batch, total)

    def _conditioned(self, axis: Axis, x: Tensor, condition: Partial | None) -> Tensor:
        """The same, (B, N, D), with what conditions over the axis have at each place."""
        for part in cast(list[AlignedCondition], self.placed.values()):
            if part.alignment.axes == (axis,):
                x = x + part(condition, len(x), x.shape[1:2])
        return x

    def _places(self, axis: Axis, batch: Batch, summary: Tensor) -> tuple[Tensor, Tensor]:
        """The same where nothing stands yet but the numbers of the places."""
        length = int(batch.sizes[axis.name].max())
        x = self.places[axis.name](torch.arange(length, device=summary.device)) + summary[:, None]
        return x, _counts(axis, batch, x)

    def _read(self, name: str, batch: Batch, states: Mapping[str, Tensor], summary: Tensor) -> Tensor:
        head = self.outputs[name]
        if not head.axes:
            return self.heads[name](summary)
        own = states.get(head.axes[0].name)
        if own is None:
            return self.heads[name](summary).unflatten(1, (-1, head.width))
        exists = torch.arange(own.shape[1], device=own.device) < _counts(head.axes[0], batch, own)[:, None]
        return torch.where(exists[..., None], self.heads[name](own), 0.0)


class BothWays(nn.Module):
    """Layers of two recurrent networks each, one from the first place to the last, the other back.

    The second reads each row turned round within its own length, so that neither comes across padding before it has
    read all that exists.
    """

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM], config: Any) -> None:
        super().__init__()
        half = config.width // 2
        self.there = nn.ModuleList(
            cell(config.width, config.width - half, batch_first=True) for _ in range(config.layers)
        )
        self.back = nn.ModuleList(cell(config.width, half, batch_first=True) for _ in range(config.layers))
        self.dropout = config.dropout
        for part in (*self.there, *self.back):
            for name, parameter in part.named_parameters():
                if name.startswith("weight_hh"):
                    for gate in parameter.data.split(part.hidden_size):
                        nn.init.orthogonal_(gate)

    def forward(self, x: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, D) and the numbers of places that exist, (B,), to states (B, N, D) and those of both ends, (B, D)."""
        length = x.shape[1]
        x = pad(x, (0, 0, 0, 1 - length)) if not length else x
        turned = _turned(counts, x.shape[1])
        last = (counts - 1).clamp(min=0)
        ends: Sequence[Tensor] = ()
        for there, back in zip(self.there, self.back, strict=True):
            one, other = there(x)[0], back(_taken(x, turned))[0]
            ends = [state[torch.arange(len(x), device=x.device), last] for state in (one, other)]
            x = dropout(torch.cat([one, _taken(other, turned)], -1), self.dropout, self.training)
        return x[:, :length], torch.where(counts[:, None] > 0, torch.cat([*ends], -1), 0.0)


def _counts(axis: Axis, batch: Batch, x: Tensor) -> Tensor:
    """How many of the places of x, (B, N, D), exist in each row."""
    if axis.variable:
        return batch.sizes[axis.name].to(x.device)
    return torch.full((len(batch),), x.shape[1], device=x.device)


def _turned(counts: Tensor, length: int) -> Tensor:
    """The place that stands at each place when rows are turned round within their length, (B, N)."""
    places = torch.arange(length, device=counts.device).expand(len(counts), -1)
    return torch.where(places < counts[:, None], counts[:, None] - 1 - places, places)


def _taken(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def _require_rows(fields: Space, outputs: Mapping[str, Head]) -> None:
    for field in fields.values():
        if len(field.axes) > 1 or not all(axis.ordered for axis in field.axes):
            raise UnsupportedSpace(
                "a recurrent network that reads all elements at once takes fields over one ordered axis, not over "
                f"{' by '.join(axis.name for axis in field.axes)}; choose another backbone, such as transformer"
            )
    if any(head.rotates for head in outputs.values()):
        raise UnsupportedSpace("a recurrent network is not equivariant, so it has no output that rotates")
