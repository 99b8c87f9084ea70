"""p(element | parameters): how likely the elements of a field are under what a network says of their places.

A head gives `width` numbers at every place. A likelihood arranges them as the parameters of packed elements, so
that sums run over free elements only: one of the two orders of a symmetric pair, and n - 1 of n centred points.

Letters in shapes: B batch, E packed elements, P parameters of an element, W width of a head, K components.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import expm1, log, pi, prod

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from molgen.backbone import Head
from molgen.batch import levels_to_values, values_to_levels
from molgen.data.statistics import Moments, Statistics
from molgen.errors import UnsupportedSpace
from molgen.families.parts.elements import arrange
from molgen.kinds import primitive
from molgen.seeding import inverse_cdf
from molgen.space import Categorical, Field, Real

#: The smallest standard deviation of a normal element: real fields come at unit scale.
SMALLEST_SCALE = 1e-3
#: The smallest log-scale of a logistic component (Salimans et al., arXiv 1701.05517, in their code).
SMALLEST_LOG_SCALE = -7.0
#: Added to every count of a class, so that none is impossible at the start.
SMOOTHING = 0.5


class Likelihood(nn.Module, ABC):
    """log p(element | parameters), draws, and an estimate, for the elements of one field.

    Args:
        field: the field.
        width: the numbers that a head must give at every place.
    """

    def __init__(self, field: Field, width: int) -> None:
        super().__init__()
        self.field, self.width = field, width

    @property
    def head(self) -> Head:
        """The output that a network must have for this field."""
        return Head(self.width, self.field.axes, rotates=isinstance(self.field, Real) and self.field.rotates)

    def arrange(self, outputs: Tensor, places: Tensor) -> Tensor:
        """What a head gives, (B, *axes, W), as the parameters of packed elements, (B, E, P); see `elements.arrange`."""
        return arrange(self.field, outputs, places)

    @abstractmethod
    def log_density(self, parameters: Tensor, values: Tensor) -> Tensor:
        """log p of packed elements in nats: (B, E, P) and (B, E) to (B, E)."""

    @abstractmethod
    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Packed elements, (B, E), from a uniform number each by the inverse of the cumulative distribution.

        A `temperature` divides the logits of classes and multiplies the scale of numbers.
        """

    @abstractmethod
    def estimate(self, parameters: Tensor) -> Tensor:
        """What stands for an element where nothing is drawn, (B, E): the likeliest; of quantised numbers the mean."""

    def bias(self, name: str, statistics: Statistics) -> Tensor:
        """What a head gives everywhere, (W,), where nothing but the statistics is known."""
        return torch.zeros(self.width)


@primitive
def likelihood(field: Field, components: int = 5) -> Likelihood:
    """The likelihood of a kind of field; teach one for a kind of your own.

    Args:
        field: the field.
        components: of the mixtures that describe quantised numbers.

    Raises:
        UnsupportedSpace: the kind of field has none.
    """
    raise UnsupportedSpace(f"no likelihood is known for a field of kind {type(field).__name__}")


@likelihood.register
def _(field: Categorical, components: int = 5) -> Likelihood:
    return Bernoulli(field, 1) if field.classes == 2 else Classes(field, field.classes)


@likelihood.register
def _(field: Real, components: int = 5) -> Likelihood:
    if field.levels == 2:
        return Bernoulli(field, prod(field.channels))
    if field.levels is not None:
        return LogisticMixture(field, components)
    return IsotropicNormal(field) if field.centred or field.rotates else Normal(field)


class Classes(Likelihood):
    """Each element is one of K classes with probabilities softmax(parameters)."""

    def log_density(self, parameters: Tensor, values: Tensor) -> Tensor:
        """The log-probability of the class: (B, E, K) and (B, E) to (B, E)."""
        return parameters.log_softmax(-1).gather(-1, values[..., None]).squeeze(-1)

    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The ids of the drawn classes, (B, E)."""
        p = _softmax(parameters, temperature)
        return inverse_cdf(p.flatten(0, 1), uniform.flatten()).view(uniform.shape)

    def estimate(self, parameters: Tensor) -> Tensor:
        """The ids of the likeliest classes, (B, E)."""
        return parameters.argmax(-1)

    def bias(self, name: str, statistics: Statistics) -> Tensor:
        """The logarithms of the frequencies of the classes."""
        return _log_frequencies(statistics.marginals.get(name), self.width)


class Bernoulli(Likelihood):
    """Each element is the second of two classes, or of two levels, with probability sigmoid(parameter)."""

    def log_density(self, parameters: Tensor, values: Tensor) -> Tensor:
        """The log-probability of the class or level, (B, E)."""
        logit = parameters.squeeze(-1)
        # Ids are 0 and 1, the values of two levels -1/2 and 1/2.
        return logsigmoid(torch.where(values > 0, logit, -logit))

    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Classes or values of levels, (B, E)."""
        return self._element(uniform > torch.sigmoid(-parameters.squeeze(-1).double() / temperature))

    def estimate(self, parameters: Tensor) -> Tensor:
        """The likelier of the two, (B, E)."""
        return self._element(parameters.squeeze(-1) > 0)

    def bias(self, name: str, statistics: Statistics) -> Tensor:
        """The logit of the frequency of the second class or level."""
        counts: Sequence[float]
        if isinstance(self.field, Real):
            moments = statistics.moments.get(name, Moments())
            counts = [moments.count / 2 - moments.total, moments.count / 2 + moments.total]
        else:
            counts = statistics.marginals.get(name, [0, 0])
        first, second = _log_frequencies(counts, 2).tolist()
        return torch.full((self.width,), second - first)

    def _element(self, second: Tensor) -> Tensor:
        return levels_to_values(self.field, second) if isinstance(self.field, Real) else second.long()


class LogisticMixture(Likelihood):
    """A level is drawn from a mixture of K logistic distributions over its cells (arXiv 1701.05517, equation 2).

    The two outermost cells reach to infinity, so the masses of all levels sum to one. The channels of a place are
    independent of each other.
    """

    def __init__(self, field: Real, components: int) -> None:
        super().__init__(field, 3 * components * prod(field.channels))
        assert field.levels is not None
        self.components, self.levels = components, field.levels

    def log_density(self, parameters: Tensor, values: Tensor) -> Tensor:
        """The log-mass of the cells of the levels, (B, E)."""
        weights, means, log_scales = self._components(parameters)
        level = values_to_levels(self._real, values)[..., None]
        # As a batch holds them values are rounded; neighbouring cells must share their edge.
        centre = (2 * level.to(means) + 1) / self.levels - 1
        precision, half = (-log_scales).exp(), 1 / self.levels
        upper, lower = ((centre + side - means) * precision for side in (half, -half))
        # s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)), where s(b) or s(-a) is 1 at the end of the line.
        first, last = level == 0, level == self.levels - 1
        mass = torch.where(last, 0.0, logsigmoid(upper)) + torch.where(first, 0.0, logsigmoid(-lower))
        mass = mass + torch.where(first | last, 0.0, (-torch.expm1(-2 * half * precision)).log())
        return (weights.log_softmax(-1) + mass).logsumexp(-1)

    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The values of the drawn levels, (B, E)."""
        weights, means, log_scales = self._components(parameters.double())
        p = _softmax(weights, temperature)
        chosen = inverse_cdf(p.flatten(0, 1), uniform.flatten()).view(*uniform.shape, 1)
        # What is left of the number inside the share of its component is uniform again.
        share = p.gather(-1, chosen)
        rest = (uniform[..., None] - p.cumsum(-1).gather(-1, chosen) + share) / share
        place = means.gather(-1, chosen) + temperature * log_scales.gather(-1, chosen).exp() * rest.clamp(0, 1).logit()
        return self._value(values_to_levels(self._real, place.clamp(-2, 2).squeeze(-1)))

    def estimate(self, parameters: Tensor) -> Tensor:
        """The levels nearest to the mean level, (B, E), as values: the mode of a wide mixture is often an extreme."""
        weights, means, log_scales = self._components(parameters)
        share, precision = weights.softmax(-1), (-log_scales).exp()
        mean = torch.zeros_like(means[..., 0])
        # The mean level is the sum over the lower edges of cells of the probability to lie above.
        for level in range(1, self.levels):
            edge = 2 * level / self.levels - 1
            mean = mean + (share * torch.sigmoid((means - edge) * precision)).sum(-1)
        return self._value(mean.round())

    def bias(self, name: str, statistics: Statistics) -> Tensor:
        """Components spread over the values that the data have."""
        moments = statistics.moments.get(name, Moments())
        means = moments.mean + moments.scale * torch.linspace(-1, 1, self.components)
        # A logistic distribution of scale s has the standard deviation s pi / sqrt 3.
        log_scale = max(log(moments.scale * 3**0.5 / pi), SMALLEST_LOG_SCALE + 1)
        raw = SMALLEST_LOG_SCALE + _inverse_softplus(log_scale - SMALLEST_LOG_SCALE)
        one = torch.cat([torch.zeros(self.components), means, torch.full((self.components,), raw)])
        return one.repeat(self.width // len(one))

    @property
    def _real(self) -> Real:
        assert isinstance(self.field, Real)
        return self.field

    def _components(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, means, raw = parameters.chunk(3, -1)
        return weights, means, SMALLEST_LOG_SCALE + softplus(raw - SMALLEST_LOG_SCALE)

    def _value(self, levels: Tensor) -> Tensor:
        return levels_to_values(self._real, levels)


class Normal(Likelihood):
    """Each number is normal, with a mean and a scale of its own."""

    def __init__(self, field: Real) -> None:
        super().__init__(field, 2 * prod(field.channels))

    def log_density(self, parameters: Tensor, values: Tensor) -> Tensor:
        """The log-density at unit scale, (B, E)."""
        return _normal_log_density(values, *self._moments(parameters))

    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Numbers, (B, E)."""
        mean, scale = self._moments(parameters)
        return (mean + temperature * scale * torch.special.ndtri(uniform)).to(parameters)

    def estimate(self, parameters: Tensor) -> Tensor:
        """The means, (B, E)."""
        return self._moments(parameters)[0]

    def bias(self, name: str, statistics: Statistics) -> Tensor:
        """Mean 0 and scale 1: real fields are standardised."""
        return torch.tensor([0.0, _inverse_softplus(1 - SMALLEST_SCALE)]).repeat(self.width // 2)

    def _moments(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = parameters.unbind(-1)
        return mean, SMALLEST_SCALE + softplus(raw)


class IsotropicNormal(Likelihood):
    """Normal around a mean with one learned scale for the whole field, which turning and centring leave as it is.

    The elements of a centred field are its coordinates in an orthonormal basis, see `batch.pack_field`.
    """

    def __init__(self, field: Real) -> None:
        super().__init__(field, prod(field.channels))
        self.raw_scale = nn.Parameter(torch.tensor(_inverse_softplus(1 - SMALLEST_SCALE)))

    @property
    def scale(self) -> Tensor:
        """The standard deviation of every element."""
        return SMALLEST_SCALE + softplus(self.raw_scale)

    def log_density(self, parameters: Tensor, values: Tensor) -> Tensor:
        """The log-density at unit scale, (B, E)."""
        return _normal_log_density(values, parameters.squeeze(-1), self.scale)

    def sample(self, parameters: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Numbers, (B, E)."""
        return (parameters.squeeze(-1) + temperature * self.scale * torch.special.ndtri(uniform)).to(parameters)

    def estimate(self, parameters: Tensor) -> Tensor:
        """The means, (B, E)."""
        return parameters.squeeze(-1)


def _softmax(logits: Tensor, temperature: float) -> Tensor:
    logits = logits.double()
    # The largest becomes 0, so that no temperature is too low.
    return torch.softmax((logits - logits.amax(-1, keepdim=True)) / temperature, -1)


def _normal_log_density(values: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return -0.5 * ((values - mean) / scale) ** 2 - scale.log() - 0.5 * log(2 * pi)


def _log_frequencies(counts: Sequence[float] | None, classes: int) -> Tensor:
    smooth = torch.tensor(counts or [0.0] * classes, dtype=torch.float64) + SMOOTHING
    return (smooth / smooth.sum()).log().float()


def _inverse_softplus(value: float) -> float:
    return log(expm1(value))
