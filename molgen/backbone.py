"""The network contracts: from a batch to one output tensor per head.

Letters in shapes: B batch, T slices, S slices of one field, W width of a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil, log, log2
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from molgen.batch import Batch, Partial
from molgen.config import Part, settings_of
from molgen.domain import API_VERSION, Config
from molgen.layers.choice_ids import largest_count
from molgen.layers.named import NamedModules
from molgen.ordering import TokenBatch
from molgen.space import Axis, Field, Layout, Real, Slice, Space, axes, layout


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
                f"the backbone {cls.__name__} runs causally only; this family needs one that "
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


#: The networks that serve a layout when the user names none: along the order of generation, and all elements at once.
DEFAULTS: Mapping[Layout, tuple[str, str]] = {
    Layout.RECORD: ("recurrent", "transformer"),
    Layout.SEQUENCE: ("recurrent", "transformer"),
    Layout.SET: ("recurrent", "transformer"),
    Layout.GRID: ("unet", "unet"),
    Layout.GRAPH: ("recurrent", "graph"),
    Layout.POINTS: ("transformer", "equivariant"),
}
#: A sequence of more elements has convolutions: attention takes time as their square, recurrence step after step.
LONG_SEQUENCE = 1024
#: Places of long sequences in a training step, of which every layer keeps a vector each: some GB.
PLACES_AT_ONCE = 1 << 16
#: Places that attention at the coarsest resolution of a long sequence may have.
COARSEST_PLACES = 128


def default_backbone(space: Space, causal: bool) -> Part:
    """The network that serves a space when the user names none, with what its size asks for."""
    reach = _longest_row(space, causal)
    if reach > LONG_SEQUENCE:
        return Part("wavenet", _dilations(reach)) if causal else Part("unet", _convolutions(reach))
    return Part(DEFAULTS[layout(space)][0 if causal else 1])


def fitting_batch_size(space: Space, causal: bool, usual: int) -> int:
    """Items in a training step where nobody says: fewer than usual of long sequences, which would not fit in memory."""
    reach = _longest_row(space, causal)
    return min(usual, max(1, PLACES_AT_ONCE // reach)) if reach > LONG_SEQUENCE else usual


def _longest_row(space: Space, causal: bool) -> int:
    """The places of the longest sequence, or the choices where it is made one after the other; 0 of other layouts."""
    if layout(space) is not Layout.SEQUENCE:
        return 0
    return largest_count(space) if causal else max(axis.maximum for axis in axes(space).values())


def _dilations(reach: int) -> dict[str, Any]:
    """Two rounds of layers, each four times as far apart as the one before, that together look back over all choices.

    Queues make drawing a choice cost the same wherever it is, so that what an output depends on need not be short.
    """
    return {"growth": 4, "levels": ceil(log(1 + 1.5 * reach, 4)), "rounds": 2}


def _convolutions(reach: int) -> dict[str, Any]:
    """Resolutions of one width, down to so few places that attention costs little."""
    return {"levels": 1 + ceil(log2(reach / COARSEST_PLACES)), "width": 64, "growth": 1}


#: A class and its settings for a space, causally or all elements at once.
Fallback = Callable[[Space, bool], tuple[type[Backbone], Any]]


def default_network(space: Space, causal: bool) -> tuple[type[Backbone], Any]:
    """The class and the settings of the default network of a space."""
    return settings_of("backbone", default_backbone(space, causal))


def make_build(
    backbone: type[Backbone],
    config: Any,
    condition: Space | None,
    space: Space | None = None,
    fallback: Fallback = default_network,
) -> Build:
    """The `Build` of one backbone class and configuration.

    Args:
        backbone: makes the networks.
        config: its settings.
        condition: what the model is conditioned on.
        space: of the samples. A network whose inputs have another layout, such as noise or a latent, is the default
            of what it reads and writes where the backbone cannot take them. Without it the backbone makes all.
        fallback: says which class and settings those are.
    """
    asked = dict(condition or {})

    def build(
        inputs: Space, outputs: Mapping[str, Head], causal: bool = False, condition: Space | None = None
    ) -> Backbone:
        if taken := sorted(set(asked) & set(condition or {})):
            raise ValueError(
                f"the family has a condition of its own that is named {', '.join(taken)}; rename the column"
            )
        everything = asked | dict(condition or {})
        if space is None or layout(inputs) == layout(space):
            return backbone.make(inputs, outputs, config, everything, causal)
        written = {f"output {name}": _as_field(head) for name, head in outputs.items()}
        choices: list[Callable[[], tuple[type[Backbone], Any]]] = [
            lambda: (backbone, config),
            lambda: fallback({**inputs, **written}, causal),
            lambda: fallback(inputs, causal),
        ]
        return _first_that_fits(choices, lambda cls, own: cls.make(inputs, outputs, own, everything, causal))

    return build


def _as_field(head: Head) -> Field:
    return Real(head.axes, channels=(3,) if head.rotates else (), rotates=head.rotates)


def _first_that_fits(
    choices: Iterable[Callable[[], tuple[type[Backbone], Any]]], make: Callable[[type[Backbone], Any], Backbone]
) -> Backbone:
    """The first network that is not refused; else the first refusal, which is of what the user chose."""
    refusals = []
    for choice in choices:
        try:
            return make(*choice())
        except ValueError as error:
            refusals.append(error)
    raise refusals[0]


__all__ = [
    "Backbone",
    "Batch",
    "Build",
    "CausalBackbone",
    "Head",
    "LinearHeads",
    "State",
    "default_backbone",
    "fitting_batch_size",
    "default_network",
    "make_build",
]
