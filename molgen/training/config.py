"""How long and how to train."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from molgen.config import make_settings

#: Settings by the names that they had before.
FORMER_NAMES: Mapping[str, str] = {"shards": "gradient_shards"}

#: The least and the largest value of numbers, both allowed.
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("steps", "batch_size", "pool", "check_every", "save_every", "log_every"), (1, math.inf)),
    "gradient_shards": (1, 1024),
    "warmup": (0, math.inf),
    "patience": (0, math.inf),
    "validation_limit": (0, math.inf),
    "learning_rate": (0, 10),
    "weight_decay": (0, 10),
    "clip": (1e-12, math.inf),
    "condition_dropout": (0, 1),
    "seed": (0, (1 << 63) - 1),
}
#: Numbers of which 1 itself makes no sense.
_SHARES = ("beta2", "average", "average_from", "validation")


@dataclass(frozen=True)
class PrivacyConfig:
    """How private a training is: a bound to keep to, or how much noise to add; see `private_steps.PrivateSteps`.

    Attributes:
        epsilon: the bound that the whole training keeps to; the noise follows from it.
        noise_multiplier: instead: the standard deviation of the noise as a multiple of `max_grad_norm`; the bound
            follows from it.
        delta: the probability that the bound does not hold; by default a tenth of one divided by the number of items.
        max_grad_norm: the most that the gradient of one item counts; longer ones are clipped.
        accountant: what adds up the steps, as opacus calls them: `prv` (Gopi et al., arXiv 2106.02848) is tight, `rdp`
            (Mironov et al., arXiv 1908.10530) looser and quicker.

    Raises:
        ValueError: neither or both of `epsilon` and `noise_multiplier`, or a number outside of its range.
    """

    epsilon: float | None = None
    noise_multiplier: float | None = None
    delta: float | None = None
    max_grad_norm: float = 1.0
    accountant: Literal["prv", "rdp"] = "prv"

    def __post_init__(self) -> None:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("give either epsilon, to which the noise is fitted, or noise_multiplier")
        for name in ("epsilon", "noise_multiplier", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, not {value}")
        if self.delta is not None and not 0 < self.delta < 1:
            raise ValueError(f"delta must be above 0 and below 1, not {self.delta}")


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how to train.

    On one machine, device kind and number of threads (`OMP_NUM_THREADS`, `torch.set_num_threads`) a run gives the same
    weights again, bit for bit, however often it was interrupted and resumed. Another number of threads or of
    `gradient_shards` adds numbers up in another order: such runs agree up to rounding, which training amplifies.

    Attributes:
        steps: training steps; each has one optimiser step for every step of every phase of the family.
        batch_size: items in an optimiser step.
        pool: batches whose items are sorted by size together, see `loader.BatchPlan`; 1 mixes all sizes.
        learning_rate: the largest; reached after `warmup` steps.
        schedule: how the learning rate falls to zero over all steps: on a line, or along half a cosine (Loshchilov &
            Hutter, arXiv 1608.03983, equation 5, without restarts), which stays high for longer and ends flat.
        warmup: steps of linear increase.
        weight_decay, beta2: of AdamW (Loshchilov & Hutter, arXiv 1711.05101).
        clip: the largest gradient norm; `inf` leaves gradients as they are.
        average: decay of the exponential moving average of the weights, which is what is saved.
        average_from: the share of the steps after which averaging begins; until then the last weights are kept.
        condition_dropout: the share of conditions hidden in training, each by itself.
        validation: the share of the data that is held out, at most `validation_limit` items.
        patience: stop after so many checks without a better held-out loss (0: never).
        check_every: steps between checks of the held-out loss.
        save_every: steps between saves for resuming.
        log_every: steps between lines of metrics.
        seed: of everything random.
        precision: `no`, `bf16` or `fp16`, as accelerate calls them.
        gradient_shards: parts of a batch whose gradients are computed at the same time, one CPU thread each.
            Small recurrent steps keep every core busy that way; 1 gives all threads the whole batch.
        privacy: settings of `PrivacyConfig` for training with differential privacy; without any it is not private.
            Then `batch_size` is the expected number of items in a step, and `clip` means nothing.

    Raises:
        ValueError: a number outside of its range, or none.
    """

    steps: int = 20_000
    batch_size: int = 128
    pool: int = 1
    learning_rate: float = 2e-3
    schedule: Literal["linear", "cosine"] = "linear"
    warmup: int = 200
    weight_decay: float = 0.01
    beta2: float = 0.99
    clip: float = 1.0
    average: float = 0.999
    average_from: float = 0.0
    condition_dropout: float = 0.1
    validation: float = 0.01
    validation_limit: int = 5000
    patience: int = 0
    check_every: int = 500
    save_every: int = 500
    log_every: int = 20
    seed: int = 0
    precision: str = "no"
    gradient_shards: int = 1
    privacy: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (least, largest) in _RANGES.items():
            if not least <= getattr(self, name) <= largest:
                limits = f"at least {least:g}" if largest == math.inf else f"from {least:g} to {largest:g}"
                raise ValueError(f"{name} must be {limits}, not {getattr(self, name)}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")
        if self.precision not in ("no", "bf16", "fp16"):
            raise ValueError(f"precision must be no, bf16 or fp16, not {self.precision!r}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule!r}")
        if self.private is not None:
            self._require_private()

    @property
    def private(self) -> PrivacyConfig | None:
        """How private the training is, where it is at all."""
        found: PrivacyConfig | None = None
        if self.privacy:
            found = make_settings(PrivacyConfig, self.privacy, "training.privacy")
        return found

    def _require_private(self) -> None:
        if self.pool != 1:
            raise ValueError("pool must be 1 with privacy, for which each item is drawn by itself")
        if self.precision == "fp16":
            raise ValueError("precision must be no or bf16 with privacy: fp16 scales gradients that are to be clipped")

    def learning_rate_after(self, step: int) -> float:
        """The learning rate of the step after `step` steps."""
        warm = (step + 1) / max(1, self.warmup)
        return self.learning_rate * min(1.0, warm) * SCHEDULES[self.schedule](step / self.steps)


#: The share of the learning rate that is left after a share of the steps.
SCHEDULES = {
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
}


def current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings, those under a former name by their name of today."""
    return {FORMER_NAMES.get(name, name): value for name, value in settings.items()}
