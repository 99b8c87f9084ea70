"""What synthetic items are good for: to learn from them what holds of real ones.

Letters in shapes: N, M items of sets, D numbers of an item, R repetitions.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from molgen.metric import Estimate
from molgen_datasets.audit.findings import Finding, Section, Table
from molgen_datasets.audit.items import Items
from molgen_datasets.audit.labels import Labels
from molgen_datasets.audit.learners import Factory, Learner
from molgen_datasets.audit.measure import vectors

#: Real labels beside which synthetic items are tried.
FEW = (100, 300, 1000)
#: The share of the items that a repetition draws.
_DRAWN = 0.8
TITLE = "Use"
WORDS = (
    "TSTR: train on synthetic items, test on held-out real ones; TRTR: the same from as many real ones. Each "
    "repetition draws other items and another seed; intervals are those of Student for the mean over repetitions."
)


@dataclass(frozen=True)
class Sides:
    """Items with labels, as learners read them.

    Attributes:
        training, holdout, synthetic: numbers (N, D) and labels (N,) of those that have one.
        classes: whether labels are classes.
    """

    training: tuple[np.ndarray, np.ndarray]
    holdout: tuple[np.ndarray, np.ndarray]
    synthetic: tuple[np.ndarray, np.ndarray]
    classes: bool


def sides_of(feature: str, labels: Labels, sides: tuple[Items, Items, Items]) -> Sides:
    """The numbers of a feature, and the labels; where items are rows of a table, without the column of the label."""
    values = [_without(one.features[feature], labels.name) for one in sides]
    _, found = vectors(values)
    kept = [(x[labels.known(n)], labels.values[n][labels.known(n)]) for n, x in enumerate(found)]
    return Sides(kept[0], kept[1], kept[2], labels.classes)


def _without(values: Any, name: str) -> Any:
    if isinstance(values, np.ndarray):
        return values
    return [{key: cell for key, cell in row.items() if key != name} for row in values]


# --- learning -------------------------------------------------------------------------------------


def skill(
    make: Callable[[], Learner],
    train: Sequence[tuple[np.ndarray, np.ndarray]],
    test: tuple[np.ndarray, np.ndarray],
    classes: bool,
) -> float:
    """Balanced accuracy for classes, R2 for numbers, on a test set after learning from some parts together."""
    from sklearn.metrics import r2_score, recall_score

    x, y = (np.concatenate(part) for part in zip(*train, strict=True))
    if classes:
        known = np.unique(test[1].astype(str))
        if len(np.unique(y.astype(str))) < 2:
            return 1 / len(known) if y[0] in known else 0.0  # whoever saw one class names it always
        found = _predicted(make(), x, y.astype(str), test[0])
        return float(recall_score(test[1].astype(str), found, labels=known, average="macro", zero_division=0.0))
    return float(r2_score(test[1].astype(float), _predicted(make(), x, y.astype(float), test[0])))


def _predicted(learner: Learner, x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():  # of iterations that end early, which the skill shows
        warnings.simplefilter("ignore")
        learner.fit(x, y)
        return learner.predict(test)


@dataclass(frozen=True)
class Trials:
    """Repeated learning.

    Attributes:
        sides: what is learned from and tested on.
        factory: of the learner.
        repeats: R.
        most: items of a set that a learner sees.
        rng: draws items and seeds.
    """

    sides: Sides
    factory: Factory
    repeats: int
    most: int
    rng: np.random.Generator

    def swapped(self) -> dict[str, np.ndarray]:
        """The skill from real and from synthetic items, as many of each, (R,) by name."""
        sides = self.sides
        size = max(2, int(_DRAWN * min(self.most / _DRAWN, len(sides.training[1]), len(sides.synthetic[1]))))
        found: dict[str, list[float]] = {"TRTR": [], "TSTR": []}
        for _ in range(self.repeats):
            make = self._maker()
            for name, side in (("TRTR", sides.training), ("TSTR", sides.synthetic)):
                found[name].append(skill(make, [self._drawn(side, size)], sides.holdout, sides.classes))
        return {name: np.array(values) for name, values in found.items()}

    def added(self, count: int) -> dict[str, np.ndarray]:
        """The skill from a few real items, and from them with the synthetic ones, (R,) by name."""
        sides = self.sides
        size = max(2, int(_DRAWN * min(self.most / _DRAWN, len(sides.synthetic[1]))))
        found: dict[str, list[float]] = {"real": [], "both": []}
        for _ in range(self.repeats):
            make, few = self._maker(), self._drawn(sides.training, count)
            both = [few, self._drawn(sides.synthetic, size)]
            found["real"].append(skill(make, [few], sides.holdout, sides.classes))
            found["both"].append(skill(make, both, sides.holdout, sides.classes))
        return {name: np.array(values) for name, values in found.items()}

    def _maker(self) -> Callable[[], Learner]:
        seed = int(self.rng.integers(2**31))
        return lambda: self.factory(classes=self.sides.classes, seed=seed)

    def _drawn(self, side: tuple[np.ndarray, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
        places = self.rng.choice(len(side[1]), min(count, len(side[1])), replace=False)
        return side[0][places], side[1][places]


def mean_of(values: np.ndarray, note: str = "") -> Estimate:
    """The mean of repetitions (R,) with its interval of Student; none for a single one."""
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Estimate(mean, count=count, note=note)
    side = float(stats.t.ppf(0.975, count - 1)) * float(values.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - side, mean + side, count, note)


# --- the section ----------------------------------------------------------------------------------


def section(labels: Labels, feature: str, sides: tuple[Items, Items, Items], trials: Mapping[str, Any]) -> Section:
    """Learning from synthetic items in the place of real ones, and beside a few of them.

    Args:
        labels: of training, held-out and synthetic items.
        feature: what learners read.
        sides: the sets in that order.
        trials: the other fields of `Trials`.
    """
    found = Trials(sides_of(feature, labels, sides), **trials)
    few = [one for one in found.sides.__dict__.values() if isinstance(one, tuple) and len(one[1]) < 2]
    if few:
        return without(labels.name, "fewer than two items of a set have it")
    if len(np.unique(found.sides.training[1].astype(str))) < 2:
        return without(labels.name, "it is the same for all training items")
    kind = "balanced accuracy" if labels.classes else "R2"
    swapped = found.swapped()
    note = f"{kind} of {labels.name} on {len(found.sides.holdout[1]):,} held-out items"
    findings = [Finding(f"{name}: {kind}", mean_of(swapped[name], note)) for name in ("TRTR", "TSTR")]
    findings.append(Finding("TSTR less TRTR", mean_of(swapped["TSTR"] - swapped["TRTR"], "paired")))
    rows: list[list[str | float | None]] = []
    for count in (count for count in FEW if count <= len(found.sides.training[1])):
        added = found.added(count)
        gain = mean_of(added["both"] - added["real"], "real and synthetic less real alone, paired")
        findings.append(Finding(f"gain beside {count:,} real labels", gain))
        rows.append([f"{count:,}", *_spans(added["real"]), *_spans(added["both"])])
    heads = ["real labels", "real alone", "from", "to", "with synthetic items", "from", "to"]
    tables = [Table(f"A few real labels, alone and with synthetic items ({kind})", heads, rows)] if rows else []
    return Section("use", TITLE, findings, tables, [WORDS])


def _spans(values: np.ndarray) -> list[float]:
    found = mean_of(values)
    return [found.value, found.low, found.high]


def without(name: str | None, why: str) -> Section:
    """Why nothing could be learned."""
    what = f"The label {name!r} cannot be learned" if name else "Nothing was learned"
    return Section("use", TITLE, words=[f"{what}: {why}."])
