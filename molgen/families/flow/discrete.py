"""Discrete flow matching: classes on straight paths of probability.

The methods are those of Campbell et al., arXiv 2402.04997, and Gat et al., arXiv 2407.15595.

Given x_0 an element is at time t a sample of p_t = (1 - t) [x_t = x_0] + t pi(x_t). The rate of jumping from x_t to x_0
that makes these paths is 1 / t; a network predicts p(x_0 | x_t), and samples jump at the mean rate over its prediction.

Letters in shapes: B batch, E packed elements, K classes, S states: K, and MASK where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from molgen.backbone import Build, Head
from molgen.batch import Batch, Partial
from molgen.config import by_name
from molgen.data.statistics import Statistics
from molgen.errors import UnsupportedSpace
from molgen.families.flow.config import DiscreteSampling, FlowConfig, PathOptions
from molgen.families.flow.variant import Drawn, Items, Variant
from molgen.families.parts.elements import ElementNoise, PackedElements, arrange
from molgen.families.parts.known import KnownElements
from molgen.family import Density, Known
from molgen.layers.named import NamedModules
from molgen.seeding import Rng, inverse_cdf
from molgen.space import Categorical, Space

States = Mapping[str, Tensor]
#: Added to every count of a class, so that none is impossible.
SMOOTHING = 0.5
#: The smallest probability that is told apart from 0.
TINY = 1e-30


class Path(nn.Module):
    """The way of one field from data to noise.

    Args:
        field: the classes.
        masked: whether all noise is on a state of its own, MASK, the last.
        counted: whether noise has the frequencies of the classes in the training data; otherwise it is uniform.
    """

    noise: Tensor

    def __init__(self, field: Categorical, masked: bool, counted: bool) -> None:
        super().__init__()
        self.field, self.masked, self.counted = field, masked, counted
        noise = torch.full((field.classes,), 1 / field.classes)
        if masked:
            noise = torch.tensor([0.0] * field.classes + [1.0])
        self.register_buffer("noise", noise)

    @property
    def seen(self) -> Categorical:
        """What the network reads."""
        return replace(self.field, classes=len(self.noise), grammar=None)

    @property
    def pi(self) -> Tensor:
        """The distribution at time 1, (S,) in float64."""
        return self.noise.double() / self.noise.double().sum()

    def corrupt(self, x0: Tensor, time: Tensor, uniform: Tensor) -> Tensor:
        """A state at a time (B, 1), (B, E)."""
        # What is left of the number below the probability is uniform again.
        share = (uniform / time.clamp(min=TINY)).clamp(max=1)
        return torch.where(uniform < time, self.start(share), x0)

    def start(self, uniform: Tensor) -> Tensor:
        """Noise, (B, E)."""
        return inverse_cdf(self.pi.expand(uniform.numel(), -1), uniform.flatten()).view(uniform.shape)

    def predict(self, output: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """log p(x_0 | x_t), (B, E, K) in float64, by Bayes's rule from what all other elements say."""
        same = one_hot(x, len(self.noise))[..., : self.field.classes]
        own = (1 - time)[..., None] * same + time[..., None] * self.pi[x][..., None]
        return (output.double() + own.clamp(min=TINY).log()).log_softmax(-1)

    def bound(self, log_p: Tensor, x0: Tensor, x: Tensor, time: Tensor) -> Tensor:
        """The divergence of the true from the predicted rates, summed over jumps: (B, E) in nats for a unit of time.

        With a perfect prediction the bound is the log-density itself for masked noise, and below it for other noise,
        where what has jumped does not show in the state.
        """
        surprise = -_at(log_p, x0)
        stays = _at(log_p, x.clamp(max=self.field.classes - 1)).exp()
        stays = torch.where(x < self.field.classes, stays, 0.0)
        return torch.where(x == x0, 1 - stays, surprise - stays) / time

    def step(
        self, log_p: Tensor, x: Tensor, times: tuple[float, float], uniform: States, options: DiscreteSampling
    ) -> Tensor:
        """States after a step from a time to an earlier one."""
        (time, earlier), pi = times, self.pi
        target = inverse_cdf(log_p.exp().flatten(0, 1), uniform["target"].flatten()).view(x.shape)
        # More jumps towards the target, and as many away as keep p_t (Campbell et al., section 4.2).
        rate = (1 + options.stochasticity * (1 - time + time * pi[target])) / time
        # States that p_t can be in, given x_0.
        count = 2 if self.masked else self.field.classes
        rate = rate + options.target_guidance / (count * (time * pi[x]).clamp(min=TINY))
        jumps = (x != target) & (uniform["jump"] < (time - earlier) * rate)
        leaves = (x == target) & (uniform["jump"] < (time - earlier) * options.stochasticity * (earlier > 0))
        return torch.where(jumps, target, torch.where(leaves, self.start(uniform["noise"]), x))


def _at(log_p: Tensor, x: Tensor) -> Tensor:
    return log_p.gather(-1, x[..., None]).squeeze(-1)


#: Of a path, log p, x_0, x_t and times (B, 1): (B, E).
Term = Callable[[Path, Tensor, Tensor, Tensor, Tensor], Tensor]


class Noise(NamedTuple):
    """Where paths end, see `Path`."""

    masked: bool
    counted: bool


#: The noise that paths end in, by its names in the configuration.
NOISES: Mapping[str, Noise] = {
    "masked": Noise(masked=True, counted=False),
    "uniform": Noise(masked=False, counted=False),
    "marginal": Noise(masked=False, counted=True),
}


class DiscreteMatching(Variant):
    """The loss is -log p(x_0 | x_t) at a random time; the bound on log p(x) is that of the rates of jumps."""

    Sampling, Scoring = DiscreteSampling, PathOptions
    known, guidance, loss_unit = Known.REPLACEMENT, True, "nats"
    density = Density.LOWER_BOUND

    def __init__(self, space: Space, build: Build, config: FlowConfig, condition: Space) -> None:
        super().__init__(space, build, config, condition)
        noise = by_name("noise", config.noise, NOISES)
        paths, heads = {}, {}
        for name, field in space.items():
            if not isinstance(field, Categorical):
                raise UnsupportedSpace(
                    f"discrete flow matching is for classes, and {name!r} has numbers; "
                    "family.variant=coupling takes them"
                )
            paths[name], heads[name] = Path(field, *noise), Head(field.classes, field.axes)
        self.paths = NamedModules(paths)
        self.network = build({name: path.seen for name, path in paths.items()}, heads)

    def path(self, name: str) -> Path:
        """That of a field."""
        own = self.paths[name]
        assert isinstance(own, Path)
        return own

    def outputs(
        self, x: States, time: Tensor, elements: PackedElements, condition: Partial | None
    ) -> dict[str, Tensor]:
        """What the network says of x_0 at times (B,), from all elements but the own: logits (B, E, K) by field."""
        kind = next(self.network.parameters()).dtype
        outputs = self.network(elements.unpack_batch(x), time.to(kind), condition)
        return {name: arrange(field, outputs[name], elements.places[name]) for name, field in self.original.items()}

    def loss(self, items: Items) -> Mapping[str, Tensor]:
        """-log p(x_0 | x_t) of all elements at one random time."""
        return self._terms(items, items.rng.uniform("time"), 0, lambda path, log_p, x0, x, time: -_at(log_p, x0))

    def validate(self, items: Items) -> Mapping[str, Tensor]:
        """The bound on -log p(x | size) at one random time."""
        return self._bound(items, items.rng.uniform("time"), 0)

    def _bound(self, items: Items, share: Tensor, step: int) -> dict[str, Tensor]:
        """An estimate of the bound on -log p(x | size) from the time at a share, (B,), of the way.

        Times are squares of shares: little noise is rare and has large terms, whose variance would be infinite else.
        """
        weight = 2 * share.to(items.elements.device)
        return {name: weight * term for name, term in self._terms(items, share**2, step, Path.bound).items()}

    def _terms(self, items: Items, time: Tensor, step: int, function: Term) -> dict[str, Tensor]:
        """A function of the prediction at some times (B,), summed over the elements of each field."""
        elements, x0 = items.elements, items.packed()
        noise, time = ElementNoise(elements, items.rng), time.to(elements.device)
        x = {name: self.path(name).corrupt(x0[name], time[:, None], noise.uniform(name, "noise", step)) for name in x0}
        x = {name: torch.where(elements.exists[name], one, 0) for name, one in x.items()}
        found = {}
        for name, output in self.outputs(x, time, elements, items.condition).items():
            log_p = self.path(name).predict(output, x[name], time[:, None])
            each = function(self.path(name), log_p, x0[name], x[name], time[:, None])
            found[name] = torch.where(elements.exists[name], each, 0.0).sum(1)
        return found

    def log_density(self, items: Items, options: PathOptions) -> tuple[Tensor, Tensor]:
        """The lower bound, from noised copies of the items at stratified shares of the way."""
        count, terms = options.samples or self.config.samples, []
        for number in range(count):
            share = (number + items.rng.uniform("time", step=number)) / count
            terms.append(torch.stack([*self._bound(items, share, number).values()]).sum(0))
        # Neighbours differ by their times too, so the error is not too small on average (Cochran, Sampling Techniques,
        # 1977, section 5A.12).
        pairs = torch.stack(terms).unflatten(0, (-1, 2))
        return -pairs.mean((0, 1)), (pairs[:, 0] - pairs[:, 1]).square().sum(0).sqrt() / count

    def sample(
        self,
        elements: PackedElements,
        condition: Partial | None,
        rng: Rng,
        known: Partial | None,
        options: DiscreteSampling,
    ) -> Drawn:
        """From noise to data; known elements are what they are at each time."""
        noise, held = ElementNoise(elements, rng), KnownElements.of(known, elements, lambda name, values: values)
        shared = noise.uniforms("held")
        steps = options.steps or self.config.steps
        times = (torch.linspace(1, 0, steps + 1, dtype=torch.float64) ** options.distortion).tolist()
        x = {name: self.path(name).start(u) for name, u in noise.uniforms("start").items()}
        x = self._keeping(x, 1.0, held, shared, elements)
        for number, (time, earlier) in enumerate(pairwise(times)):
            log_p = self._guided(x, time, elements, condition, options)
            drawn = {purpose: noise.uniforms(purpose, number) for purpose in ("target", "jump", "noise")}
            x = {
                name: self.path(name).step(
                    log_p[name], x[name], (time, earlier), {purpose: u[name] for purpose, u in drawn.items()}, options
                )
                for name in x
            }
            x = self._keeping(x, earlier, held, shared, elements)
        return Drawn(Batch(elements.unpack_batch(x).fields, dict(elements.sizes)))

    def _keeping(
        self, x: States, time: float, held: KnownElements, shared: States, elements: PackedElements
    ) -> dict[str, Tensor]:
        """States with known elements as they are at a time; nothing masks what is known. Padding is 0."""
        found = {}
        for name, state in x.items():
            if name in held.values:
                path, x0 = self.path(name), held.values[name]
                now = torch.full((len(x0), 1), 0.0 if path.masked else time, dtype=torch.float64, device=x0.device)
                state = held.keep(name, state, path.corrupt(x0, now, shared[name]), elements)
            found[name] = torch.where(elements.exists[name], state, 0)
        return found

    def _guided(
        self, x: States, time: float, elements: PackedElements, condition: Partial | None, options: DiscreteSampling
    ) -> dict[str, Tensor]:
        """log p(x_0 | x_t), between the predictions with and without the condition or beyond, at a temperature."""
        now = torch.full((len(elements),), time, dtype=torch.float64, device=elements.device)
        found = self.outputs(x, now, elements, condition if options.guidance else None)
        if condition is not None and options.guidance not in (0, 1):
            free = self.outputs(x, now, elements, None)
            found = {name: _mixed(free[name], one, options.guidance) for name, one in found.items()}
        # What an element says of itself is known exactly, so only what the network says is made sharper.
        return {
            name: self.path(name).predict(one / options.temperature, x[name], now[:, None])
            for name, one in found.items()
        }

    def initialise(self, items: Items, statistics: Statistics) -> None:
        """Start from the frequencies of classes, and count them for noise that has them."""
        for name, field in self.original.items():
            assert isinstance(field, Categorical)
            found = statistics.marginals.get(name) or [0] * field.classes
            counts = torch.tensor(found, dtype=torch.float64) + SMOOTHING
            self.network.set_output_bias(name, (counts / counts.sum()).log())
            if self.path(name).counted:
                self.path(name).noise.copy_(counts / counts.sum())


def _mixed(free: Tensor, asked: Tensor, weight: float) -> Tensor:
    """A straight line through both, in log-probabilities."""
    free, asked = free.log_softmax(-1), asked.log_softmax(-1)
    return free + weight * (asked - free)
