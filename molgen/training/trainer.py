"""The training loop: one for every family, on accelerate.

A run is a pure function of its configuration and data: batches, dropout and noise at step t are
keyed by (seed, t), so a resumed run continues bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import index
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState, is_initialized
from torch import Tensor, nn

from molgen.batch import Batch, Partial
from molgen.data.conditions import drop_at_random
from molgen.data.loader import BatchPlan, Data
from molgen.errors import MolgenError, UsageError
from molgen.family import Family, phases_of
from molgen.seeding import Rng
from molgen.training.averaging import AveragedFamily
from molgen.training.config import TrainingConfig
from molgen.training.gradient_shards import GradientShards, Shard
from molgen.training.optimisers import load_moments, moments_of, optimiser_of
from molgen.training.private_steps import PrivateSteps


class TrainingError(MolgenError):
    """Training cannot go on; what was saved before is whole."""


@dataclass
class Progress:
    """Where a run stands, for display: the step, of how many, the loss and the items per second."""

    step: int
    steps: int
    loss: float
    items_per_second: float
    validation_loss: float = math.nan


@dataclass
class TrainingState:
    """What resuming needs beside the weights; all of it goes into safetensors and JSON.

    Attributes:
        step: training steps taken.
        best: the least held-out loss so far.
        since_best: checks since then.
        history: the step and the held-out loss of each check.
        seconds: wall time of training until that step, of all sessions of the run together.
        plans: the step up to which a run was planned for other `steps`, and those, for each time that it changed.
    """

    step: int = 0
    best: float = math.inf
    since_best: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    plans: list[tuple[int, int]] = field(default_factory=list)


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
        self.accelerator = _accelerator(config.precision, device)
        self.device = self.accelerator.device
        self.state = TrainingState()
        self.phases = phases_of(family)
        self.averaged = AveragedFamily(family, self.phases, config.average)
        own = {name: optimiser_of(phase, config) for name, phase in self.phases.items()}
        self.raw_family = family
        self.family, *prepared = self.accelerator.prepare(family, *own.values())
        self.optimisers = dict(zip(own, prepared, strict=True))
        self.averaged.to(self.device)
        #: the averaged weights of the best check so far; kept only where training may stop early.
        self.best: dict[str, Tensor] = {}
        #: batches in a training step: one for each step of the phase that takes most.
        self.batches = max(phase.steps for phase in self.phases.values())
        self.plan = BatchPlan(data.sizes(data.train), config.batch_size, config.seed, config.pool)
        self.shards = GradientShards(config.gradient_shards, family) if config.gradient_shards > 1 else None
        self.private = PrivateSteps(family, config, len(data.train)) if config.private else None
        self._warned: set[str] = set()

    @property
    def averaged_family(self) -> Family:
        """The family with the averaged weights of the last step."""
        return self.averaged.family

    def finished_family(self) -> Family:
        """The family to sample from: its weights are those of the best check where training may stop early.

        Raises:
            TrainingError: a weight is not finite.
        """
        if self.best:
            self.averaged_family.load_state_dict(self.best)
        self._require_finite_weights(self.averaged_family)
        return self.averaged_family

    def run(
        self,
        save: Callable[[Trainer], None],
        show: Callable[[Progress], None] = lambda progress: None,
        log: Callable[[int, Mapping[str, float]], None] = lambda step, values: None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Train to the last step, saving on the way.

        Args:
            save: called where the state is to be kept.
            show: called between two steps; an exception that it raises to stop leaves after a save.
            log: takes a step and its metrics by name.
            warn: takes a sentence of `Family.diagnose`, each once.

        Raises:
            TrainingError: the loss or a gradient is not finite, and the optimiser step was not taken; or a weight is
                not finite, and the state is not saved.
        """
        started, before, items = time.perf_counter(), self.state.seconds, 0
        validation = self.state.history[-1][1] if self.state.history else math.nan
        while not self.finished:
            means, count = self._step()
            items += count
            step, loss = self.state.step, sum(float(found["loss"]) for found in means.values())
            elapsed = time.perf_counter() - started
            speed, self.state.seconds = items / elapsed, before + elapsed
            if step % self.config.log_every == 0:
                rate = self.config.learning_rate_after(step)
                log(step, {"loss": loss, "items_per_second": speed, "learning_rate": rate, **_by_phase(means)})
            if step % self.config.check_every == 0 or step == self.config.steps:
                log(step, self._check(warn))
                validation = self.state.history[-1][1] if self.state.history else math.nan
            try:
                show(Progress(step, self.config.steps, loss, speed, validation))
            except BaseException:
                self._save(save)
                raise
            if step % self.config.save_every == 0 or self.finished:
                self._save(save)

    @property
    def finished(self) -> bool:
        """Whether the last step was taken, or the held-out loss has not improved for too long."""
        exhausted = self.config.patience > 0 and self.state.since_best >= self.config.patience
        return exhausted or self.state.step >= self.config.steps

    def _save(self, save: Callable[[Trainer], None]) -> None:
        for family in (self.raw_family, self.averaged_family):
            self._require_finite_weights(family)
        save(self)

    # --- a step -----------------------------------------------------------------------------------

    def _step(self) -> tuple[dict[str, dict[str, Tensor]], int]:
        """Take a training step; the means of the losses and their parts by phase, and how many items it read."""
        step = self.state.step
        shards = [] if self.private else [self._samples(step, number) for number in range(self.batches)]
        count = sum(shard.whole for shard in shards)
        for family in (self.raw_family, self.averaged_family):
            family.begin_step(step, self.config.steps)
        means = {}
        with self._seeded(step):
            for name, phase in self.phases.items():
                for number in range(phase.steps):
                    own = self._single_samples(step, name, number) if self.private else [shards[number]]
                    means[name] = self._optimise(name, number, [self._for_phase(name, shard) for shard in own])
                    count += len(own) if self.private else 0
        self.averaged.update(self.raw_family, restart=step < self.config.average_from * self.config.steps)
        self.state.step += 1
        return means, count

    def _samples(self, step: int, number: int) -> Shard:
        """The items of a batch of a training step, with random numbers for them."""
        return self._shard(self.data.train[self.plan.rows(step * self.batches + number)], step, number)

    def _single_samples(self, step: int, name: str, number: int) -> list[Shard]:
        """The items of a private optimiser step, each alone in a batch."""
        assert self.private is not None
        rows = self.data.train[self.private.rows(self.private.event(step, name, number))]
        return [self._shard(rows[place : place + 1], step, number) for place in range(len(rows))]

    def _shard(self, rows: np.ndarray, step: int, number: int) -> Shard:
        rng = Rng(self.config.seed, rows).fold(f"step {step}")
        rng = rng.fold(f"batch {number}") if number else rng
        batch, condition = self.data.batch(rows)
        condition = drop_at_random(condition, self.config.condition_dropout, rng, step)
        return Shard(batch.to(self.device), condition.to(self.device) if condition else None, rng, len(rows))

    def _for_phase(self, name: str, shard: Shard) -> Shard:
        """The same items with random numbers that no other phase has."""
        return replace(shard, rng=shard.rng.fold(f"phase {name}")) if len(self.phases) > 1 else shard

    @contextmanager
    def _seeded(self, step: int) -> Iterator[None]:
        """Seed torch's own generators, which dropout uses, and leave them as they were."""
        kind = self.device.type
        devices = [self.device.index or 0] if kind in ("cuda", "xpu") else []
        with torch.random.fork_rng(devices=devices, device_type=kind if devices else "cuda"):
            torch.manual_seed((self.config.seed * 1_000_003 + step) % (1 << 63))
            yield

    def _optimise(self, name: str, number: int, shards: Sequence[Shard]) -> dict[str, Tensor]:
        """One optimiser step of a phase; the means of the loss and of its parts before it."""
        phase, optimiser = self.phases[name], self.optimisers[name]
        parameters = phase.parameters()
        self.family.train()
        for group in optimiser.param_groups:
            group["lr"] = phase.learning_rate * self.config.learning_rate_after(self.state.step)
        optimiser.zero_grad()
        with _frozen(self.raw_family, but=parameters):
            means = self._backward(name, number, shards)
        self._require_finite(float(means["loss"].detach()), "loss")
        self.accelerator.unscale_gradients(optimiser)
        norm = nn.utils.clip_grad_norm_(parameters, math.inf if self.private else self.config.clip)
        # In float16 the first scales of the loss are too large; the scaler skips such a step and lowers its scale.
        if self.accelerator.scaler is None:
            self._require_finite(float(norm), "gradient")
        optimiser.step()
        return {name: mean.detach() for name, mean in means.items()}

    def _backward(self, name: str, number: int, shards: Sequence[Shard]) -> dict[str, Tensor]:
        """Set the gradients of an optimiser step; the means of the loss and of its parts."""
        if self.private:
            event = self.private.event(self.state.step, name, number)
            return self.private.backward(self.family, name, shards, event, self.shards.map if self.shards else map)
        if self.shards:
            return self.shards.backward(self.raw_family, name, shards[0])
        means = shards[0].loss(self.family, name)
        self.accelerator.backward(means["loss"])
        return means

    def _require_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"the {what} is {value} at step {self.state.step}; the weights are those of the step before. "
                "Try a smaller training.learning_rate"
            )

    def _require_finite_weights(self, family: Family) -> None:
        for name, parameter in family.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise TrainingError(
                    f"the weight {name} is not finite after step {self.state.step}; it is not saved. "
                    "Try a smaller training.learning_rate"
                )

    # --- checks -----------------------------------------------------------------------------------

    def _check(self, warn: Callable[[str], None]) -> dict[str, float]:
        """What the held-out items and the family itself say of the averaged weights, by the names of metrics."""
        family = self.averaged_family.eval()
        with self._seeded(self.state.step), _frozen(family):
            means = self._held_out_means(family)
            rows = self.data.some(self.config.batch_size, self.config.seed, held_out=True)
            found = family.diagnose(*self._on_device(rows), Rng(self.config.seed, rows).fold("diagnose"))
        if means:
            self._note(means["validation_loss"])
        for text in found.warnings:
            if text not in self._warned:
                self._warned.add(text)
                warn(text)
        return means | dict(found.values)

    def _held_out_means(self, family: Family) -> dict[str, float]:
        """The mean of `Family.validate` over the held-out items, and the means of its parts."""
        totals: dict[str, float] = {}
        rows = self.data.held_out
        ranked = rows[np.argsort(self.data.sizes(rows), kind="stable")]
        for start in range(0, len(ranked), self.config.batch_size):
            some = ranked[start : start + self.config.batch_size]
            losses = family.validate(*self._on_device(some), Rng(self.config.seed, some))
            for name, tensor in {**losses.parts, "loss": losses.total}.items():
                totals[name] = totals.get(name, 0.0) + float(tensor.detach().double().sum())
        return {f"validation_{name}": total / len(rows) for name, total in totals.items()}

    def _on_device(self, rows: np.ndarray) -> tuple[Batch, Partial | None]:
        batch, condition = self.data.batch(rows)
        return batch.to(self.device), condition.to(self.device) if condition else None

    def _note(self, loss: float) -> None:
        """Take down a held-out loss, and the weights that have it where it is the best."""
        self.state.history.append((self.state.step, loss))
        better = loss < self.state.best
        self.state.since_best = 0 if better else self.state.since_best + 1
        if better and self.config.patience:
            self.best = {name: tensor.clone() for name, tensor in self.averaged_family.state_dict().items()}
        self.state.best = min(loss, self.state.best)

    # --- what resuming needs ----------------------------------------------------------------------

    def state_json(self) -> dict[str, Any]:
        """The numbers that resuming needs."""
        return {
            "step": self.state.step,
            "best": self.state.best if math.isfinite(self.state.best) else None,
            "since_best": self.state.since_best,
            "history": self.state.history,
            "seconds": self.state.seconds,
            "plans": self.state.plans,
            "averaged": self.averaged.count,
            **({"privacy": self.private.state_json(finished=self.finished)} if self.private else {}),
        }

    def state_tensors(self) -> dict[str, Tensor]:
        """Raw weights, optimiser moments by parameter name, and the family's own training state."""
        tensors = {f"weights.{name}": tensor for name, tensor in self.raw_family.state_dict().items()}
        for phase, optimiser in self.optimisers.items():
            own = moments_of(optimiser, self.raw_family)
            tensors |= {f"optimiser.{phase}.{name}": tensor for name, tensor in own.items()}
        tensors |= {f"family.{name}": tensor for name, tensor in self.raw_family.training_state().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        return tensors

    def load(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor], averaged: Mapping[str, Tensor]) -> None:
        """Take back what `state_json`, `state_tensors` and the averaged weights were."""
        best = numbers["best"]
        self.state = TrainingState(
            index(numbers["step"]),
            math.inf if best is None else float(best),
            index(numbers["since_best"]),
            [(step, value) for step, value in numbers["history"]],
            float(numbers.get("seconds", 0.0)),  # not noted by runs from before it was
            [(step, steps) for step, steps in numbers.get("plans", ())],
        )
        self.raw_family.load_state_dict(_under(tensors, "weights"))
        self.averaged.load(averaged, numbers["averaged"])
        self.raw_family.load_training_state(self._own(tensors, "family"))
        self.best = self._own(tensors, "best")
        if self.private:
            self.private.load(numbers["privacy"], self.config.steps)
        for phase, optimiser in self.optimisers.items():
            load_moments(optimiser, self.raw_family, _under(tensors, f"optimiser.{phase}"))

    def _own(self, tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        return {name: tensor.to(self.device) for name, tensor in _under(tensors, prefix).items()}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def _by_phase(means: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
    """The means of the loss and its parts as metrics, by the names of their phases where there are several."""
    if len(means) > 1:
        return {f"{phase}_{name}": float(mean) for phase, own in means.items() for name, mean in own.items()}
    return {f"training_{name}": float(mean) for own in means.values() for name, mean in own.items() if name != "loss"}


@contextmanager
def _frozen(family: Family, but: Iterable[nn.Parameter] = ()) -> Iterator[None]:
    """Let no parameters but some require gradients, so that none are computed for the others."""
    kept = set(but)
    frozen = [p for p in family.parameters() if p.requires_grad and p not in kept]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _accelerator(precision: str, device: str) -> Accelerator:
    """An accelerator of a precision, on a device.

    accelerate keeps one state for the whole process, and refuses another precision than that of the first run.

    Raises:
        UsageError: accelerate does not train on the device.
    """
    if is_initialized() and not PartialState().use_distributed:
        AcceleratorState._reset_state(reset_partial_state=True)
    wanted = torch.device(device)
    if wanted.index:
        torch.get_device_module(wanted.type).set_device(wanted.index)
    accelerator = Accelerator(mixed_precision=precision, cpu=wanted.type == "cpu")
    if accelerator.device.type != wanted.type:
        raise UsageError(f"training does not run on {device} here, only on {accelerator.device.type}")
    return accelerator
