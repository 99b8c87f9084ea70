"""How long and how to train."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how to train.

    Attributes:
        steps: optimiser steps.
        batch_size: items in a step.
        pool: batches whose items are sorted by size together, see `loading.BatchPlan`; 1 mixes all sizes.
        learning_rate: the largest; reached after `warmup` steps, falling linearly to zero at the end.
        warmup: steps of linear increase.
        weight_decay, beta2: of AdamW (Loshchilov & Hutter, arXiv 1711.05101).
        clip: the largest gradient norm.
        average: decay of the exponential moving average of the weights, which is what is saved.
        condition_dropout: the share of conditions hidden in training, each by itself.
        validation: the share of the data that is held out, at most `validation_limit` items.
        patience: stop after so many checks without a better held-out loss (0: never).
        check_every: steps between checks of the held-out loss.
        save_every: steps between saves for resuming.
        log_every: steps between lines of metrics.
        seed: of everything random.
        precision: `no`, `bf16` or `fp16`, as accelerate calls them.
        shards: parts of a batch whose gradients are computed at the same time, one CPU thread each.
            Small recurrent steps keep every core busy that way; 1 gives all threads the whole batch.
    """

    steps: int = 20_000
    batch_size: int = 128
    pool: int = 1
    learning_rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.01
    beta2: float = 0.99
    clip: float = 1.0
    average: float = 0.999
    condition_dropout: float = 0.1
    validation: float = 0.01
    validation_limit: int = 5000
    patience: int = 0
    check_every: int = 500
    save_every: int = 500
    log_every: int = 20
    seed: int = 0
    precision: str = "no"
    shards: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "pool", "check_every", "save_every", "log_every", "shards"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation must be at least 0 and below 1, not {self.validation}")
        if self.precision not in ("no", "bf16", "fp16"):
            raise ValueError(f"precision must be no, bf16 or fp16, not {self.precision!r}")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed must be at least 0 and below 2**63, not {self.seed}")
