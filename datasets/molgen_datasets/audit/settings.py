"""How an audit is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from molgen.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """How an audit is done.

    Attributes:
        most: items of a sample of each set.
        near: the distance of near copies; by default that of 1 % of held-out items.
        metrics: names of metrics and suites of `molgen evaluate`; those of the domain where there is none, and None for
            no metric at all.
        label: the column or property that is learned from synthetic items; by default a column `label`, or the first
            usual property of the domain.
        use: whether anything is learned.
        repeats: how often.
        learned: items of a set that a learner sees at most.
        column: of files, that holds the items.
        seed: of samples, learners and intervals.
        batch_size: items that a model scores at a time.
        options: of the density of the model, such as `draws`.
        device: of models and feature networks.
        processes: workers.

    Raises:
        UsageError: a number is out of its range.
    """

    most: int = 10_000
    near: float | None = None
    metrics: Sequence[str] | None = ()
    label: str | None = None
    use: bool = True
    repeats: int = 5
    learned: int = 2000
    column: str | None = None
    seed: int = 0
    batch_size: int = 512
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    processes: int | None = None

    def __post_init__(self) -> None:
        if self.most < 2:
            raise UsageError(f"an audit needs samples of 2 items or more, not {self.most}")
        if self.near is not None and self.near < 0:
            raise UsageError(f"no distance is below 0, as {self.near:g} is")
        if self.repeats < 1 or self.learned < 2:
            raise UsageError("a learner needs 2 items, and one repetition")
