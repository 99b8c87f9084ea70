"""The contracts of a field's diffusion: how its elements are corrupted, and how samples come back from noise.

A `Process` is the kernel q(x_t | x_0), what the network reads and predicts, the training loss, and the terms of the
variational bound. Its `reverse` is a `ReverseProcess`: p(x_s | x_t) for s < t, the steps of the sampler. All of it
happens on packed elements, so that a pair of a symmetric field counts once and the noise of a centred field is
centred. Nothing is remembered from one call to the next.

Letters in shapes: B batch, E packed elements, K classes, P outputs for an element, W width of a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from molgen.backbone import Head
from molgen.data.statistics import Statistics
from molgen.errors import UnsupportedSpace
from molgen.families.diffusion.schedule import NoiseSchedule
from molgen.kinds import primitive
from molgen.space import Field

if TYPE_CHECKING:
    from molgen.families.diffusion.config import DiffusionConfig


class Process(nn.Module, ABC):
    """corrupt(x_0, t, noise) -> x_t; predict(network output, x_t, t) -> x_0; what a wrong prediction costs.

    Times are (B,) in float64, from 0 (data) to 1 (noise). States x are (B, E). A prediction of x_0 is numbers, (B, E),
    or log-probabilities of classes, (B, E, K). `noise` is one uniform number per element. Sums and means run over the
    elements that exist.
    """

    #: whether the state shows all that a network needs to know of the time, so that it reads none.
    time_independent: ClassVar[bool] = False
    #: whether `endpoint_bound` adds anything to the bound.
    has_endpoint_bound: ClassVar[bool] = False

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    @property
    @abstractmethod
    def schedule(self) -> NoiseSchedule:
        """The noise levels over time."""

    @property
    @abstractmethod
    def reverse(self) -> ReverseProcess:
        """How samples come back from noise."""

    # --- the kernel ---------------------------------------------------------------------------------

    def to_state(self, values: Tensor) -> Tensor:
        """Packed values of the field as states at time 0."""
        return values

    def from_state(self, x: Tensor) -> Tensor:
        """States at time 0 as packed values of the field."""
        return x

    @abstractmethod
    def corrupt(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """A sample of q(x_t | x_0)."""

    @abstractmethod
    def renoise(self, x: Tensor, time: Tensor, later: Tensor, noise: Tensor) -> Tensor:
        """A sample of q(x_later | x_t)."""

    @abstractmethod
    def prior(self, noise: Tensor) -> Tensor:
        """A sample of p(x_1), which the kernel reaches at time 1."""

    def masked_count(self, x: Tensor, exists: Tensor) -> Tensor:
        """How many elements of the state of a time-independent process hold no information about x_0, (B,)."""
        return torch.zeros(len(x), dtype=torch.long, device=x.device)

    # --- what the network reads and predicts ----------------------------------------------------------

    @property
    @abstractmethod
    def network_field(self) -> Field:
        """The field that the network reads."""

    @property
    @abstractmethod
    def head(self) -> Head:
        """The output that the network has for this field."""

    def network_input(self, x: Tensor, time: Tensor) -> Tensor:
        """What the network reads of a state, (B, E)."""
        return x

    def network_time(self, time: Tensor) -> Tensor | None:
        """The time of this field that the network reads, (B,), from 0 to 1."""
        return None if self.time_independent else time

    @property
    def prediction_field(self) -> Field:
        """The field as which the network reads an earlier prediction: that of the numbers."""
        return self.network_field

    #: a prediction that is read as zeros.
    no_prediction: ClassVar[float] = 0.0

    def prediction_input(self, prediction: Tensor) -> Tensor:
        """An earlier prediction as packed elements of that field."""
        return prediction

    @abstractmethod
    def predict(self, output: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """The prediction of x_0, (B, E) or (B, E, K), from the network's output for each element, (B, E, P)."""

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

    def endpoint_bound(self, prediction: Tensor, x0: Tensor, exists: Tensor) -> Tensor:
        """What the two ends of time add to the bound, (B,) in nats, given the prediction at time 0."""
        return torch.zeros(len(x0), dtype=torch.float64, device=x0.device)

    # --- before training ------------------------------------------------------------------------------

    def initialise(self, name: str, statistics: Statistics) -> None:
        """Take what depends on the training data, once."""

    def bias(self, name: str, statistics: Statistics) -> Tensor | None:
        """What a head should give everywhere, (W,), where nothing but the statistics is known."""
        return None


class ReverseProcess(ABC):
    """step(prediction, x_t, t, s, ...) -> x_s for s < t, and what samplers can change about it."""

    #: steps that sampling takes by default.
    default_steps: ClassVar[int]
    #: whether `correct` improves a step once the prediction at its end is known.
    corrects: ClassVar[bool] = False
    #: whether `finish` makes a step to x_0 from the lowest noise level.
    finishes: ClassVar[bool] = False

    @abstractmethod
    def step(
        self, prediction: Tensor, x: Tensor, time: Tensor, earlier: Tensor, noise: Tensor, unmasking: Tensor
    ) -> Tensor:
        """A state at the earlier time.

        Args:
            prediction: of x_0 at time t.
            x: the state x_t.
            time, earlier: t and s.
            noise: a uniform number per element.
            unmasking: the time at which each element that is masked is to be unmasked, (B, E).
        """

    def correct(
        self, solver: str, x: Tensor, at_end: Tensor, at_start: Tensor, time: Tensor, earlier: Tensor
    ) -> Tensor:
        """The state after a step of second order, given the predictions at its end and at its start."""
        return x

    def finish(self, prediction: Tensor, x: Tensor) -> Tensor:
        """x_0, given the prediction at time 0."""
        return x

    @abstractmethod
    def guide(self, conditional: Tensor, unconditional: Tensor, weight: float) -> Tensor:
        """unconditional + w (conditional - unconditional): classifier-free guidance (arXiv 2207.12598, equation 6)."""

    def temper(self, prediction: Tensor, temperature: float) -> Tensor:
        """The prediction with the log-probabilities of classes divided by a temperature; numbers stay."""
        return prediction

    @abstractmethod
    def known_state(self, x0: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """The state of a known element at a time of sampling."""

    def changed_rows(self, x: Tensor, earlier: Tensor, unmasking: Tensor, exists: Tensor) -> Tensor:
        """Which rows a step to the earlier time can change, bool (B,)."""
        return torch.ones(len(x), dtype=torch.bool, device=x.device)

    def confidence(self, prediction: Tensor, x: Tensor, exists: Tensor) -> Tensor:
        """How certain the prediction of each masked element is, (B, E); -inf for all others."""
        return torch.full(exists.shape, -torch.inf, device=exists.device)


@primitive
def process(field: Field, config: DiffusionConfig) -> Process:
    """The process of a kind of field; teach one for a kind of your own.

    Raises:
        UnsupportedSpace: the kind of field has none.
    """
    raise UnsupportedSpace(f"no corruption process is known for a field of kind {type(field).__name__}")
