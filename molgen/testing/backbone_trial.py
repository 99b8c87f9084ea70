"""A network over random samples of a space, made small and moved away from its first weights, for each check anew.

Letters in shapes: B batch, W width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from molgen.backbone import Backbone, CausalBackbone, Head
from molgen.batch import Batch, collate
from molgen.space import Field, Real, Space
from molgen.testing.batches import CONDITION, in_float64, shake
from molgen.testing.checks import Skipped
from molgen.testing.drawing import draw_samples

#: Rows of a batch, width of the heads, and the name of the head without axes.
ROWS, WIDTH, POOLED = 4, 3, "pooled"


@dataclass(frozen=True)
class BackboneTrial:
    """One kind of network over one space, in float64.

    Attributes:
        cls: the class by its registry name; `make` chooses the one that runs causally.
        config: its settings.
        space: what it reads.
        causal: whether along the autoregressive walk.
    """

    cls: type[Backbone]
    config: Any
    space: Space
    causal: bool = False

    @cached_property
    def batch(self) -> Batch:
        """Random samples, of the smallest and the largest sizes too."""
        return in_float64(collate(self.space, draw_samples(self.space, ROWS, 0)))

    @property
    def heads(self) -> dict[str, Head]:
        """A head for each field, and one without axes where all elements are read at once."""
        own = {name: Head(WIDTH, field.axes, rotates=_rotates(field)) for name, field in self.space.items()}
        return own if self.causal else {**own, POOLED: Head(WIDTH)}

    def network(self, condition: Space | None = CONDITION, seed: int = 0) -> Backbone:
        """The network in evaluation, in float64.

        Raises:
            Skipped: it does not take the space.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                network = self.cls.make(self.space, self.heads, self.config, condition, self.causal)
            except ValueError as error:
                raise Skipped(str(error)) from error
        shake(network, seed)
        return network.double().eval()

    def causal_network(self) -> CausalBackbone:
        """The same, along the walk."""
        network = self.network()
        if not isinstance(network, CausalBackbone):
            raise TypeError(f"make(..., causal=True) gives a {type(network).__name__}, which is no CausalBackbone")
        return network


def _rotates(field: Field) -> bool:
    return isinstance(field, Real) and field.rotates


def times(rows: int) -> Tensor:
    """A time for each row, (B,)."""
    return torch.linspace(0.1, 0.9, rows, dtype=torch.float64)


def of_fields(space: Space, outputs: Mapping[str, Tensor]) -> Batch:
    """The outputs over axes as if they were fields."""
    return Batch({name: outputs[name] for name in space}, {})
