"""Training with differential privacy: gradients item by item, clipped, with Gaussian noise, and what that costs.

DP-SGD (Abadi et al., arXiv 1607.00133, algorithm 1): every item takes part in an optimiser step with the same
probability, its gradient is clipped to a norm, noise is added to the sum. Each item is alone in its batch, so that no
network and no loss can carry one item into the gradient of another: the bound holds whatever they are.
"""

from __future__ import annotations

import importlib.util
import math
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from molgen.errors import UsageError
from molgen.family import Family, phases_of
from molgen.training.config import PrivacyConfig, TrainingConfig
from molgen.training.gradient_shards import Shard

#: What `delta` is by default, as a share of one divided by the number of items.
DELTA_SHARE = 0.1
#: Added to the norm of a gradient before the limit is divided by it, so that rounding cannot bring it above the limit.
TINY = 1e-6
#: What random numbers are for, each with a stream of its own.
_CHOICE, _NOISE = 1, 2

#: A map over shards: `map`, or one that has several threads.
Mapped = Callable[[Callable[[Shard], Any], Iterable[Shard]], Iterable[Any]]


def require_private(family: Family) -> None:
    """See that opacus is there, and that the loss of an item is a matter of that item alone.

    Raises:
        UsageError: it is not; the message names the family and why.
    """
    if importlib.util.find_spec("opacus") is None:
        raise UsageError("training.privacy needs opacus; type: pip install 'molgen-toolkit[opacus]'")
    if reason := _coupling(family):
        raise UsageError(f"training.privacy is not for {type(family).__name__} with these settings: {reason}")


def _coupling(family: Family) -> str:
    """Why an item has a part in more than its own gradient; empty where it has none."""
    if family.capability.coupled:
        return "the loss of an item depends on the other items of its batch"
    if family.training_state():
        return "it keeps a memory of items from step to step"
    by_batch = [type(module).__name__ for module in family.modules() if isinstance(module, _BatchNorm)]
    return f"its network normalises by the batch ({by_batch[0]})" if by_batch else ""


class PrivateSteps:
    """Which items take part in an optimiser step, what gradient comes of them, and how private that is.

    Choices and noise come from a secret number, not from the seed of the training: whoever knew it could take the noise
    off again. It is drawn by the operating system and lies in the state of a run that is not finished, nowhere else.

    Args:
        family: that is trained.
        config: of the training, with privacy.
        items: that are trained on.

    Raises:
        UsageError: the family cannot be trained so, opacus is not there, or no noise keeps to the bound.
    """

    def __init__(self, family: Family, config: TrainingConfig, items: int) -> None:
        assert config.private is not None
        require_private(family)
        if config.batch_size > items:
            raise UsageError(f"training.batch_size must be at most {items} with privacy, the number of items")
        self.limit, self.batch_size, self.items = config.private.max_grad_norm, config.batch_size, items
        phases = phases_of(family)
        self._parameters = {name: phase.parameters() for name, phase in phases.items()}
        steps = [phase.steps for phase in phases.values()]
        self._places = dict(zip(phases, np.cumsum([0, *steps]).tolist(), strict=False))
        #: optimiser steps of a training step, each on items of its own.
        self.events = sum(steps)
        self.account = Account(config.private, config.batch_size / items, items)
        self.noise_multiplier = self.account.noise_for(config.steps * self.events)
        self._secret = secrets.randbits(128)

    def event(self, step: int, phase: str, number: int) -> int:
        """The number of an optimiser step of the whole training."""
        return step * self.events + self._places[phase] + number

    def rows(self, event: int) -> np.ndarray:
        """The items of an optimiser step, sorted; each is there with the same probability, whatever the others are."""
        return np.flatnonzero(self._random(_CHOICE, event).random(self.items) < self.account.rate)

    def backward(
        self, family: Callable[..., Any], phase: str, shards: Sequence[Shard], event: int, mapped: Mapped = map
    ) -> dict[str, Tensor]:
        """Set the gradients of an optimiser step; the means of the loss and of its parts over the items.

        Args:
            family: whose loss it is.
            phase: whose parameters get gradients.
            shards: the items, one each.
            event: the number of the step.
            mapped: `map`, or one that has several threads.

        Raises:
            UsageError: the loss writes what it sees into a buffer, which no noise protects.
        """
        parameters = self._parameters[phase]
        totals = [torch.zeros_like(parameter) for parameter in parameters]
        sums: dict[str, Tensor] = {}
        before = dict(_versions(family))
        for means, gradients in mapped(lambda shard: shard.gradients(family, phase, parameters), shards):
            add_clipped(totals, gradients, self.limit)
            sums = {name: sums.get(name, 0.0) + mean for name, mean in means.items()}
        if written := [name for name, version in _versions(family) if before[name] != version]:
            raise UsageError(f"training.privacy: the loss writes into {written[0]} what it sees, without noise")
        random = self._random(_NOISE, event)
        for parameter, total in zip(parameters, totals, strict=True):
            noise = torch.from_numpy(random.standard_normal(tuple(total.shape))).to(total)
            # The expected number of items, for the number of them is itself a matter of who is there.
            parameter.grad = (total + self.noise_multiplier * self.limit * noise) / self.batch_size
        return {name: total / len(shards) for name, total in sums.items()} or {"loss": torch.zeros(())}

    def _random(self, purpose: int, event: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=self._secret, counter=(purpose << 192) | (event << 128)))

    # --- what it costs ----------------------------------------------------------------------------

    def report(self, steps: int) -> dict[str, Any]:
        """What a card says of so many training steps, as JSON values."""
        account = self.account
        return {
            "epsilon": rounded_up(account.epsilon(self.noise_multiplier, steps * self.events)),
            "delta": account.delta,
            "of": "the weights, by whether any one of the items that were trained on is there",
            "mechanism": f"gradients of single items clipped to a norm of {self.limit:g}, Gaussian noise of "
            f"{self.noise_multiplier:.4g} times that, items drawn with a probability of {account.rate:.4g} each",
            "optimiser steps": steps * self.events,
            "accountant": account.name,
        }

    def state_json(self, *, finished: bool) -> dict[str, Any]:
        """What resuming needs; of a finished training no longer the secret number."""
        secret = {} if finished else {"secret": f"{self._secret:032x}"}
        return {"noise_multiplier": self.noise_multiplier, **secret}

    def load(self, state: Mapping[str, Any], steps: int) -> None:
        """Take back what `state_json` gave.

        Args:
            state: of the run until now.
            steps: training steps that the run is to have.

        Raises:
            UsageError: with so many steps the noise of the run no longer keeps to its bound.
        """
        self.noise_multiplier = float(state["noise_multiplier"])
        if "secret" in state:
            self._secret = int(state["secret"], 16)
        bound, needed = self.account.bound, self.account.epsilon(self.noise_multiplier, steps * self.events)
        if bound is not None and needed > bound:
            raise UsageError(
                f"the noise of this run does not keep epsilon to {bound:g} over {steps:,} steps, but to "
                f"{rounded_up(needed):g}; choose another --output for a run of so many"
            )


def add_clipped(totals: Sequence[Tensor], gradients: Sequence[Tensor | None], limit: float) -> None:
    """Add the gradient of one item to the sums, shortened to a norm of `limit` where it is longer."""
    known = [(total, own) for total, own in zip(totals, gradients, strict=True) if own is not None]
    norm = float(nn.utils.get_total_norm([own for _, own in known]))
    for total, own in known:
        total.add_(own, alpha=min(1.0, limit / (norm + TINY)))


def _versions(family: Any) -> Iterator[tuple[str, tuple[int, int]]]:
    """What changes about each buffer when something is written into it, or when it is replaced."""
    return ((name, (id(buffer), buffer._version)) for name, buffer in family.named_buffers())


class Account:
    """How private so many noisy steps are, as opacus counts it.

    Args:
        config: the settings.
        rate: the probability with which an item takes part in a step.
        items: how many there are.

    Raises:
        UsageError: `delta` says nothing, because so many items could be given away whole.
    """

    def __init__(self, config: PrivacyConfig, rate: float, items: int) -> None:
        from opacus import __version__
        from opacus.accountants import create_accountant

        self.rate, self.bound, self._config = rate, config.epsilon, config
        self.delta = DELTA_SHARE / items if config.delta is None else config.delta
        if self.delta >= 1 / items:
            raise UsageError(f"training.privacy.delta must be below 1/{items}, one divided by the number of items")
        self._accountant = create_accountant(mechanism=config.accountant)
        self.name = f"{config.accountant} of opacus {__version__}, for Poisson sampling"

    def epsilon(self, noise_multiplier: float, steps: int) -> float:
        """The bound after so many steps."""
        self._accountant.history = [(noise_multiplier, self.rate, steps)]
        with _without_remarks():
            return float(self._accountant.get_epsilon(delta=self.delta))

    def noise_for(self, steps: int) -> float:
        """The noise multiplier for so many steps: the least that keeps to the bound, or the one that is set.

        Raises:
            UsageError: none keeps to it.
        """
        from opacus.accountants.utils import get_noise_multiplier

        if self._config.noise_multiplier is not None:
            return float(self._config.noise_multiplier)
        assert self.bound is not None
        asked = {"target_epsilon": self.bound, "target_delta": self.delta, "sample_rate": self.rate, "steps": steps}
        tolerance = min(0.01, self.bound / 100)
        try:
            with _without_remarks():
                return get_noise_multiplier(**asked, accountant=self._config.accountant, epsilon_tolerance=tolerance)
        except ValueError as error:
            raise UsageError(
                f"no noise keeps training.privacy.epsilon to {self.bound:g} over {steps:,} steps: {error}"
            ) from None


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep quiet that a bound could be tighter, and how logarithms of 0 come about: neither is for users."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def rounded_up(epsilon: float) -> float:
    """A bound with four digits, never below what it was."""
    if not 0 < epsilon < math.inf:
        return epsilon
    digits = 3 - math.floor(math.log10(epsilon))
    return float(math.ceil(round(epsilon * 10.0**digits, 6)) / 10.0**digits)
