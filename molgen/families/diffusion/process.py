"""The contract of a corruption process: one field's way from data to noise and back.

Everything happens on packed elements, so that a pair of a symmetric field counts once and the noise of a centred
field is centred. A process returns what it makes and remembers nothing of it.

Letters in shapes: B batch, E packed elements, K classes, W width of a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import singledispatch
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from molgen.backbone import Head
from molgen.batch import pack_field
from molgen.data.statistics import Statistics
from molgen.errors import UnsupportedSpace
from molgen.families.diffusion.schedule import Clock
from molgen.space import Field

if TYPE_CHECKING:
    from molgen.families.diffusion.config import DiffusionConfig


class Process(nn.Module, ABC):
    """corrupt(x_0, t) -> x_t, and back: step(prediction, x_t, t, s) -> x_s for s < t.

    Times are (B,) in float64, from 0 (data) to 1 (noise). States x are (B, E). A prediction is what the network says
    of x_0: numbers (B, E), or log-probabilities of classes (B, E, K). `noise` is one uniform number per element.
    Sums and means run over the elements that exist.
    """

    #: whether all that the network needs to know of the time can be seen in the state.
    timeless: ClassVar[bool] = False
    #: whether `correct` improves a step, and `last` has something to say at time 0.
    corrects: ClassVar[bool] = False
    finishes: ClassVar[bool] = False
    #: steps that sampling takes by default.
    steps: ClassVar[int]

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    # --- what the network reads and writes ------------------------------------------------------------

    @property
    @abstractmethod
    def seen(self) -> Field:
        """The field that the network reads."""

    @property
    @abstractmethod
    def head(self) -> Head:
        """The output that the network has for this field."""

    @property
    @abstractmethod
    def clock(self) -> Clock:
        """An even walk through the noise levels."""

    def seen_values(self, x: Tensor, time: Tensor) -> Tensor:
        """What the network reads of a state, (B, E)."""
        return x

    def seen_time(self, time: Tensor) -> Tensor | None:
        """The time of this field that the network reads, (B,), from 0 to 1."""
        return None if self.timeless else time

    def arrange(self, output: Tensor, exists: Tensor) -> Tensor:
        """The output of the network, (B, *axes, W), as that of packed elements, given which places exist."""
        return pack_field(self.field, output, exists).values

    @abstractmethod
    def predict(self, output: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """The prediction of x_0 from the arranged output of the network, (B, E) or (B, E, K)."""

    @abstractmethod
    def mix(self, prediction: Tensor, other: Tensor, weight: float) -> Tensor:
        """other + weight (prediction - other): classifier-free guidance (Ho & Salimans, arXiv 2207.12598)."""

    def sharpen(self, prediction: Tensor, temperature: float) -> Tensor:
        """The prediction with the log-probabilities of classes divided by a temperature; numbers stay."""
        return prediction

    # --- to noise -----------------------------------------------------------------------------------

    def inward(self, values: Tensor) -> Tensor:
        """Packed values of the field as states at time 0."""
        return values

    def outward(self, x: Tensor) -> Tensor:
        """States at time 0 as packed values of the field."""
        return x

    @abstractmethod
    def start(self, noise: Tensor) -> Tensor:
        """A state at time 1."""

    @abstractmethod
    def corrupt(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """A draw from q(x_t | x_0)."""

    @abstractmethod
    def rise(self, x: Tensor, time: Tensor, later: Tensor, noise: Tensor) -> Tensor:
        """A draw from q(x_later | x_t)."""

    def hidden(self, x: Tensor, exists: Tensor) -> Tensor:
        """How many elements of a state of a timeless process say nothing of x_0, (B,)."""
        return torch.zeros(len(x), dtype=torch.long, device=x.device)

    def held(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """The state of a known element at a time of sampling."""
        return self.corrupt(x0, time, noise)

    # --- what training minimises, and what bounds the likelihood ------------------------------------------

    @abstractmethod
    def loss(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """The training loss at one time, (B,)."""

    @abstractmethod
    def rate_bound(self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, exists: Tensor) -> Tensor:
        """What a unit of time adds to the bound on -log p(x_0), (B,) in nats: the limit of `step_bound` / (t - s)."""

    @abstractmethod
    def step_bound(
        self, prediction: Tensor, x0: Tensor, x: Tensor, time: Tensor, earlier: Tensor, exists: Tensor
    ) -> Tensor:
        """KL(q(x_s | x_t, x_0) || p(x_s | x_t)) of one step, (B,) in nats."""

    def last_bound(self, prediction: Tensor, x0: Tensor, exists: Tensor) -> Tensor:
        """What the two ends of time add, (B,) in nats, given the prediction at time 0."""
        return torch.zeros(len(x0), dtype=torch.float64, device=x0.device)

    # --- back ---------------------------------------------------------------------------------------

    @abstractmethod
    def step(
        self, prediction: Tensor, x: Tensor, time: Tensor, earlier: Tensor, noise: Tensor, turns: Tensor
    ) -> Tensor:
        """A state at the earlier time; `turns` are times at which the elements take turns, see `ElementNoise.turns`."""

    def moves(self, x: Tensor, earlier: Tensor, turns: Tensor, exists: Tensor) -> Tensor:
        """Which rows a step to the earlier time can change, bool (B,)."""
        return torch.ones(len(x), dtype=torch.bool, device=x.device)

    def sureness(self, prediction: Tensor, x: Tensor, exists: Tensor) -> Tensor:
        """How sure the prediction of each element that waits for its turn is, (B, E); -inf for all others."""
        return torch.full(exists.shape, -torch.inf, device=exists.device)

    def correct(
        self, solver: str, x: Tensor, reached: Tensor, prediction: Tensor, time: Tensor, earlier: Tensor
    ) -> Tensor:
        """The state after a step, given the prediction that it reached and the one that it was made with."""
        return x

    def last(self, prediction: Tensor, x: Tensor) -> Tensor:
        """x_0, given the prediction at time 0."""
        return x

    # --- before training ------------------------------------------------------------------------------

    def initialise(self, name: str, statistics: Statistics) -> None:
        """Take what depends on the training data, once."""

    def bias(self, name: str, statistics: Statistics) -> Tensor | None:
        """What a head should give everywhere, (W,), where nothing but the statistics is known."""
        return None


@singledispatch
def process(field: Field, config: DiffusionConfig) -> Process:
    """The process of a kind of field; register a function here for one of your own.

    Raises:
        UnsupportedSpace: the kind of field has none.
    """
    raise UnsupportedSpace(f"no corruption process is known for a field of kind {type(field).__name__}")
