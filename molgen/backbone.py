"""The network contracts: from a batch to one output tensor per head.

Letters in shapes: B batch, T slices of a walk, S slices of one field, W width of a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from molgen.batch import Batch, Partial
from molgen.domain import API_VERSION, Config
from molgen.layers.named import NamedModules
from molgen.ordering import TokenBatch
from molgen.space import Axis, Layout, Slice, Space, layout


@dataclass(frozen=True)
class Head:
    """An output: `width` numbers at every place of `axes`, (B, *axes, W); without axes, one pooled vector (B, W)."""

    width: int
    axes: tuple[Axis, ...] = ()
    rotates: bool = False


class State(ABC):
    """What a causal network carries from slice to slice, for some rows."""

    @abstractmethod
    def take(self, rows: Tensor) -> State:
        """The state of the given rows."""


class Build(Protocol):
    """build(inputs, outputs, causal, condition) -> Backbone: handed to a family, called as often as it needs networks.

    `condition` holds further conditions of this network beside those of the model, such as a latent.
    """

    def __call__(
        self, inputs: Space, outputs: Mapping[str, Head], causal: bool = False, condition: Space | None = None
    ) -> Backbone:
        """Make a network from the fields of `inputs` to one output per head.

        Raises:
            ValueError: a further condition has the name of one of the model's.
        """
        ...


class Backbone(nn.Module, ABC):
    """forward(batch, time, condition) -> {head: (B, *axes, W)}, invariant to padding and to the other rows.

    `time` is None, (B,), or {field: (B,)}. A categorical field comes as ids or as one-hot floats.
    """

    molgen_api: ClassVar[int] = API_VERSION
    Config: ClassVar[type] = Config
    layouts: ClassVar[frozenset[Layout]]
    #: whether `build(..., causal=True)` gives a `CausalBackbone`.
    causal: ClassVar[bool] = False

    def __init__(self, inputs: Space, outputs: Mapping[str, Head], config: Any, condition: Space | None = None) -> None:
        super().__init__()
        if layout(inputs) not in self.layouts:
            known = ", ".join(sorted(arrangement.value for arrangement in self.layouts))
            raise ValueError(f"the backbone {type(self).__name__} reads {known}, not a {layout(inputs).value}")
        self.inputs, self.outputs, self.config = dict(inputs), dict(outputs), config

    @classmethod
    def make(
        cls,
        inputs: Space,
        outputs: Mapping[str, Head],
        config: Any,
        condition: Space | None = None,
        causal: bool = False,
    ) -> Backbone:
        """A network of this name.

        Raises:
            ValueError: it cannot run in the way that is asked for, causally or all elements at once.
        """
        return cls.class_for(inputs, causal)(inputs, outputs, config, condition)

    @classmethod
    def class_for(cls, inputs: Space, causal: bool) -> type[Backbone]:
        """The class that serves such a space in one of the two ways, where the name has one for each.

        Raises:
            ValueError: there is none.
        """
        if causal and not cls.causal:
            raise ValueError(f"the backbone {cls.__name__} cannot run causally, as this family needs")
        return cls

    @abstractmethod
    def forward(
        self, batch: Any, time: Tensor | Mapping[str, Tensor] | None, condition: Partial | None
    ) -> dict[str, Tensor]:
        """The outputs of every head."""

    def output_bias(self, name: str) -> Tensor | None:
        """What is added to an output, in the memory of the parameters, (P, W), with a row for each of P places or one.

        None, as by default, where the network adds nothing of this kind; see `LinearHeads`.
        """
        return None

    @torch.no_grad()
    def set_output_bias(self, name: str, values: Tensor) -> None:
        """Let the first K numbers of an output start from `values`, (K,), such as the logarithms of frequencies.

        It is a start, not a constraint: a network without an output bias leaves it out.
        """
        bias = self.output_bias(name)
        if bias is not None:
            bias[:, : len(values)] = values.to(bias)


class LinearHeads:
    """Mixed into a `Backbone`, before it, whose attribute `heads` has the last layer of each output, with a bias."""

    heads: NamedModules
    outputs: dict[str, Head]

    def output_bias(self, name: str) -> Tensor | None:
        """The bias of the last layer; one that writes several places at once has a row for each."""
        bias = self.heads[name].bias
        assert isinstance(bias, Tensor)
        return bias.view(-1, self.outputs[name].width)


class CausalBackbone(Backbone):
    """forward(choices, None, condition) -> {field: (B, S, W)}: each slice's output sees earlier slices only.

    `start` and `step` give the same outputs one slice at a time, to 1e-5 in float32 and 1e-10 in float64.
    """

    causal = True

    @classmethod
    def class_for(cls, inputs: Space, causal: bool) -> type[Backbone]:
        """This class, which runs causally only."""
        if not causal:
            raise ValueError(
                f"the backbone {cls.__name__} runs along the autoregressive walk only; this family needs one that "
                "reads all elements at once, such as transformer"
            )
        return cls

    @abstractmethod
    def forward(
        self, batch: TokenBatch, time: Tensor | Mapping[str, Tensor] | None, condition: Partial | None
    ) -> dict[str, Tensor]:
        """The outputs of all slices at once, from the choices made at them."""

    @abstractmethod
    def start(self, condition: Partial | None, rows: int) -> State:
        """The state before the first slice."""

    @abstractmethod
    def step(self, slice: Slice, state: State, previous: tuple[Slice, Tensor] | None) -> tuple[Tensor, State]:
        """The output (B, W) for one slice, given the slice before it and the choices (B,) made there."""


def make_build(backbone: type[Backbone], config: Any, condition: Space | None) -> Build:
    """The `Build` of one backbone class and configuration; `condition` is what the model is conditioned on."""
    asked = dict(condition or {})

    def build(
        inputs: Space, outputs: Mapping[str, Head], causal: bool = False, condition: Space | None = None
    ) -> Backbone:
        if taken := sorted(set(asked) & set(condition or {})):
            raise ValueError(
                f"the family has a condition of its own that is named {', '.join(taken)}; rename the column"
            )
        return backbone.make(inputs, outputs, config, asked | dict(condition or {}), causal)

    return build


#: The network along the autoregressive walk that serves a layout when the user names none.
DEFAULT_CAUSAL_BACKBONES: Mapping[Layout, str] = {
    Layout.RECORD: "recurrent",
    Layout.SEQUENCE: "recurrent",
    Layout.SET: "recurrent",
    Layout.GRID: "unet",
    Layout.GRAPH: "recurrent",
}

#: The same for networks that read all elements at once.
DEFAULT_BACKBONES: Mapping[Layout, str] = {
    Layout.RECORD: "transformer",
    Layout.SEQUENCE: "transformer",
    Layout.SET: "transformer",
    Layout.GRID: "unet",
    Layout.GRAPH: "graph",
}

__all__ = [
    "DEFAULT_BACKBONES",
    "DEFAULT_CAUSAL_BACKBONES",
    "Backbone",
    "Batch",
    "Build",
    "CausalBackbone",
    "Head",
    "LinearHeads",
    "State",
    "make_build",
]
