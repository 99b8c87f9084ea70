"""The training loop: one for every family, on accelerate.

A run is a pure function of its configuration and data: batches, dropout and noise at step t are
keyed by (seed, t), so a resumed run continues bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from molgen.data.conditions import drop_at_random
from molgen.data.loader import BatchPlan, Data
from molgen.errors import MolgenError
from molgen.family import Family
from molgen.seeding import Rng
from molgen.training.config import TrainingConfig
from molgen.training.gradient_shards import Shards, Share


class TrainingError(MolgenError):
    """Training cannot go on; what was saved before is whole."""


@dataclass
class Progress:
    """Where a run stands, for display: the step, of how many, the loss and the rate."""

    step: int
    steps: int
    loss: float
    items_per_second: float
    validation_loss: float = math.nan


@dataclass
class TrainingState:
    """What resuming needs beside the weights; all of it goes into safetensors and JSON.

    Attributes:
        step: optimiser steps taken.
        best: the least held-out loss so far.
        since_best: checks since then.
        history: the step and the held-out loss of each check.
        seconds: wall time of training until that step, of all sessions of the run together.
    """

    step: int = 0
    best: float = math.inf
    since_best: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0


class Trainer:
    """Trains one family on one store; `run` goes on from wherever the state stands."""

    def __init__(
        self,
        family: Family,
        data: Data,
        config: TrainingConfig,
        device: str = "cpu",
    ) -> None:
        self.config, self.data = config, data
        self.accelerator = Accelerator(mixed_precision=config.precision, cpu=device == "cpu")
        self.state = TrainingState()
        self.averaged = AveragedModel(family, multi_avg_fn=_averaging(config.average), use_buffers=True)
        self.optimisers = {name: _optimiser(module, config) for name, module in family.phases.items()}
        self.raw_family = family
        prepared = self.accelerator.prepare(family, *self.optimisers.values())
        self.family = prepared[0]
        self.optimisers = dict(zip(self.optimisers, prepared[1:], strict=True))
        self.averaged.to(self.accelerator.device)
        #: the averaged weights of the best check so far; kept only where training may stop early.
        self.best: dict[str, Tensor] = {}
        self.plan = BatchPlan(data.sizes(data.train), config.batch_size, config.seed, config.pool)
        self.shards = Shards(config.shards, family) if config.shards > 1 else None

    @property
    def averaged_family(self) -> Family:
        """The family with the averaged weights of the last step."""
        family = self.averaged.module
        assert isinstance(family, Family)
        return family

    def finished_family(self) -> Family:
        """The family to sample from: its weights are those of the best check where training may stop early."""
        if self.best:
            self.averaged_family.load_state_dict(self.best)
        return self.averaged_family

    def run(
        self,
        save: Callable[[Trainer], None],
        show: Callable[[Progress], None] = lambda progress: None,
        log: Callable[[int, Mapping[str, float]], None] = lambda step, values: None,
    ) -> None:
        """Train to the last step, saving on the way.

        `show` is called between two steps; an exception that it raises to stop leaves after a save.

        Raises:
            TrainingError: the loss or a gradient is not finite; the optimiser step was not taken.
        """
        started, before, items = time.perf_counter(), self.state.seconds, 0
        validation = self.state.history[-1][1] if self.state.history else math.nan
        while not self.finished:
            loss, count = self._step()
            items += count
            step = self.state.step
            elapsed = time.perf_counter() - started
            rate, self.state.seconds = items / elapsed, before + elapsed
            if step % self.config.log_every == 0:
                log(step, {"loss": loss, "items_per_second": rate, "learning_rate": self._learning_rate(step)})
            if len(self.data.held_out) and (step % self.config.check_every == 0 or step == self.config.steps):
                checked = self._check()
                validation = checked["validation_loss"]
                log(step, checked)
            try:
                show(Progress(step, self.config.steps, loss, rate, validation))
            except BaseException:
                save(self)
                raise
            if step % self.config.save_every == 0 or self.finished:
                save(self)

    @property
    def finished(self) -> bool:
        """Whether the last step was taken, or the held-out loss has not improved for too long."""
        exhausted = self.config.patience > 0 and self.state.since_best >= self.config.patience
        return exhausted or self.state.step >= self.config.steps

    def _learning_rate(self, step: int) -> float:
        """The learning rate of the step after `step` steps."""
        warm = (step + 1) / max(1, self.config.warmup)
        left = 1 - step / self.config.steps
        return self.config.learning_rate * min(1.0, warm) * left

    def _step(self) -> tuple[float, int]:
        step = self.state.step
        rows = self.data.train[self.plan.rows(step)]
        rng = Rng(self.config.seed, rows).fold(f"step {step}")
        batch, condition = self.data.batch(rows)
        condition = drop_at_random(condition, self.config.condition_dropout, rng, step)
        batch = batch.to(self.accelerator.device)
        condition = condition.to(self.accelerator.device) if condition else None
        self.raw_family.begin_step(step, self.config.steps)
        loss = 0.0
        with torch.random.fork_rng(devices=self._cuda_devices()):
            torch.manual_seed((self.config.seed * 1_000_003 + step) % (1 << 63))
            share = Share(batch, condition, rng, len(rows))
            for phase, optimiser in self.optimisers.items():
                loss += self._optimise(optimiser, phase, share)
        self.averaged.update_parameters(self.raw_family)
        self.state.step += 1
        return loss, len(rows)

    def _cuda_devices(self) -> list[int]:
        device = self.accelerator.device
        return [device.index or 0] if device.type == "cuda" else []

    def _optimise(self, optimiser: Any, phase: str, share: Share) -> float:
        """One optimiser step; the loss before it."""
        self.family.train()
        for group in optimiser.param_groups:
            group["lr"] = self._learning_rate(self.state.step)
        optimiser.zero_grad()
        if self.shards:
            value = self.shards.backward(self.raw_family, phase, share)
        else:
            loss = share.loss(self.family, phase)
            value = float(loss.detach())
            self.accelerator.backward(loss)
        self._require_finite(value, "loss")
        norm = self.accelerator.clip_grad_norm_(self.raw_family.phases[phase].parameters(), self.config.clip)
        # In float16 the first scales of the loss are too large; the scaler skips such a step and lowers its scale.
        if self.accelerator.scaler is None:
            self._require_finite(float(norm), "gradient")
        optimiser.step()
        return value

    def _require_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"the {what} is {value} at step {self.state.step}; the weights are those of the step before. "
                "Try a smaller training.learning_rate"
            )

    def _check(self) -> dict[str, float]:
        """The mean held-out loss of the averaged weights, and the means of its parts, by the names of metrics."""
        family = self.averaged_family
        family.eval()
        totals: dict[str, float] = {}
        rows = self.data.held_out
        ranked = rows[np.argsort(self.data.sizes(rows), kind="stable")]
        with torch.no_grad():
            for start in range(0, len(ranked), self.config.batch_size):
                some = ranked[start : start + self.config.batch_size]
                batch, condition = self.data.batch(some)
                condition = condition.to(self.accelerator.device) if condition else None
                losses = family.loss(batch.to(self.accelerator.device), condition, Rng(self.config.seed, some))
                for name, tensor in {"loss": losses.total, **losses.parts}.items():
                    totals[name] = totals.get(name, 0.0) + float(tensor.double().sum())
        means = {f"validation_{name}": total / len(rows) for name, total in totals.items()}
        value = means["validation_loss"]
        self.state.history.append((self.state.step, value))
        better = value < self.state.best
        self.state.since_best = 0 if better else self.state.since_best + 1
        if better and self.config.patience:
            self.best = {name: tensor.clone() for name, tensor in family.state_dict().items()}
        self.state.best = min(value, self.state.best)
        return means

    def state_json(self) -> dict[str, Any]:
        """The numbers that resuming needs."""
        return {
            "step": self.state.step,
            "best": self.state.best if math.isfinite(self.state.best) else None,
            "since_best": self.state.since_best,
            "history": self.state.history,
            "seconds": self.state.seconds,
            "averaged": int(self.averaged.n_averaged),
        }

    def state_tensors(self) -> dict[str, Tensor]:
        """Raw weights, optimiser moments by parameter name, and the family's own training state."""
        tensors = {f"weights.{name}": tensor for name, tensor in self.raw_family.state_dict().items()}
        for phase, optimiser in self.optimisers.items():
            names = _parameter_names(self.raw_family.phases[phase])
            for parameter, moments in optimiser.state.items():
                for key, value in moments.items():
                    tensors[f"optimiser.{phase}.{names[parameter]}.{key}"] = value
        tensors |= {f"family.{name}": tensor for name, tensor in self.raw_family.training_state().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        return tensors

    def load(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor], averaged: Mapping[str, Tensor]) -> None:
        """Take back what `state_json`, `state_tensors` and the averaged weights were."""
        best = numbers["best"]
        self.state = TrainingState(
            numbers["step"],
            math.inf if best is None else best,
            numbers["since_best"],
            [(step, value) for step, value in numbers["history"]],
            numbers.get("seconds", 0.0),  # not noted by runs from before it was
        )
        self.raw_family.load_state_dict(_under(tensors, "weights"))
        self.averaged.module.load_state_dict(averaged)
        self.averaged.n_averaged.fill_(numbers["averaged"])
        self.raw_family.load_training_state(_under(tensors, "family"))
        self.best = {name: tensor.to(self.accelerator.device) for name, tensor in _under(tensors, "best").items()}
        for phase, optimiser in self.optimisers.items():
            _load_moments(optimiser, self.raw_family.phases[phase], _under(tensors, f"optimiser.{phase}"))


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def _parameter_names(module: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in module.named_parameters()}


def _load_moments(optimiser: Any, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    for parameter, name in _parameter_names(module).items():
        own = {key.rpartition(".")[2]: value for key, value in tensors.items() if key.rpartition(".")[0] == name}
        if own:
            optimiser.state[parameter] = {key: value.to(parameter.device).clone() for key, value in own.items()}


def _optimiser(module: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    # Decay pulls matrices towards zero; biases and other vectors stay free.
    matrices = [p for p in module.parameters() if p.ndim >= 2]
    vectors = [p for p in module.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=config.learning_rate, betas=(0.9, config.beta2), fused=True
    )


def _averaging(decay: float) -> Callable[..., None]:
    """An exponential moving average that follows closely at first, so that short runs are not held back."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, weight)
        else:
            torch._foreach_copy_(averaged, current)

    return update
