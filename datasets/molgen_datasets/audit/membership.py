"""Membership inference: whether training items can be told from held-out ones by the generator, or by its samples.

Letters in shapes: N items of each of the training and the holdout sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molgen.domain import Item
from molgen.inference.score import UNNORMALISED, score
from molgen_datasets.audit.closeness import Comparison
from molgen_datasets.audit.findings import Finding, Section, Table
from molgen_datasets.audit.measure import nearest, quantiles
from molgen_datasets.audit.rates import told_apart

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
WORDS = (
    "AUC: the probability that a training item looks more like a member than a held-out one; 0.5 is a coin. TPR at "
    "1 % FPR: the share of training items that are named with one wrong accusation in a hundred (Carlini et al., "
    "IEEE S&P 2022). A stronger attack than these may find more: figures at chance are no guarantee."
)


@dataclass(frozen=True)
class Densities:
    """log p of items under a model.

    Attributes:
        training, holdout, synthetic: in nats, NaN for an item that the model cannot represent, float64 (N,).
        kind: what the numbers mean; see `Density`.
    """

    training: np.ndarray
    holdout: np.ndarray
    synthetic: np.ndarray
    kind: str

    @property
    def lost(self) -> int:
        """Real items that the model cannot represent."""
        return int(np.isnan(self.training).sum() + np.isnan(self.holdout).sum())


def density_of(
    model: GenerativeModel, items: Sequence[Item], batch_size: int = 512, options: Mapping[str, Any] | None = None
) -> tuple[np.ndarray, str]:
    """log p of canonical items in nats, NaN where there is none, and what kind of number it is.

    Raises:
        UsageError: the family's density has no such option.
    """
    encoded = [model.encoder.encode(item) for item in items]
    found = score(model, encoded, None, batch_size, options)
    kinds = {one.kind for one in found if one.kind}
    return np.array([one.log_density for one in found], float), next(iter(sorted(kinds)), "")


def densities(
    model: GenerativeModel,
    sides: tuple[Sequence[Item], Sequence[Item], Sequence[Item]],
    batch_size: int = 512,
    options: Mapping[str, Any] | None = None,
) -> Densities:
    """The densities of training, held-out and synthetic items."""
    found = [density_of(model, items, batch_size, options) for items in sides]
    (training, _), (holdout, _), (synthetic, _) = found
    return Densities(training, holdout, synthetic, next((kind for _, kind in found if kind), ""))


# --- attacks --------------------------------------------------------------------------------------


def loss_attack(found: Densities, rng: np.random.Generator) -> list[Finding]:
    """Members are what the model finds likely (Yeom et al., CSF 2018)."""
    unit = "energies and critics compare items of one size only" if found.kind in UNNORMALISED else found.kind
    return told_apart("loss", found.training, found.holdout, rng, f"log-density, {unit}" if unit else "")


def calibrated_attack(found: Densities, reference: Densities, rng: np.random.Generator) -> list[Finding]:
    """Members are what the model finds likelier than a model of other data does (Watson et al., ICLR 2022)."""
    with np.errstate(invalid="ignore"):  # what neither model thinks possible says nothing
        members, others = found.training - reference.training, found.holdout - reference.holdout
    note = "log-density less that of the reference model, which must not have seen the training set"
    return told_apart("loss, calibrated", members, others, rng, note)


def distance_attack(found: Comparison, rng: np.random.Generator) -> list[Finding]:
    """Members are what has a synthetic item near it."""
    members, others = np.split(-found.real_to_synthetic, 2)
    return told_apart("distance to the nearest synthetic item", members, others, rng, "samples alone")


def ratio_attack(found: Comparison, rng: np.random.Generator) -> list[Finding]:
    """Members are where synthetic items lie denser than real ones that are no members.

    The density of either is that of the nearest neighbour (Loftsgaarden and Quesenberry, Ann. Math. Statist. 36(3),
    1965), so that the ratio is one of distances; half of the holdout is the real side, the other half the non-members.

    Source: DOMIAS, van Breugel et al., AISTATS 2023, there with other estimates of the densities.
    """
    half, size = len(found.holdout) // 2, len(found.training)
    if not half:
        return []
    reference = found.holdout[:half]
    near = np.concatenate([found.real_to_synthetic[:size], found.real_to_synthetic[size + half :]])
    real = nearest(found.measure, np.concatenate([found.training, found.holdout[half:]]), reference).first
    ratios = log_ratios(real, near)
    note = f"samples alone; the density of {half:,} held-out items beside that of the synthetic ones"
    return told_apart("density ratio (DOMIAS)", ratios[:size], ratios[size:], rng, note)


def log_ratios(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """log(above / below) of distances; a distance of zero counts as half the smallest one that is not."""
    known = np.concatenate([above[above > 0], below[below > 0]])
    least = float(known.min()) / 2 if len(known) else 1.0
    return np.asarray(np.log(np.maximum(above, least)) - np.log(np.maximum(below, least)))


# --- the section ----------------------------------------------------------------------------------


def section(
    compared: Comparison | None,
    model: Densities | None,
    reference: Densities | None,
    rng: np.random.Generator,
) -> Section:
    """All attacks for which there is what they need."""
    findings: list[Finding] = []
    if model is not None:
        findings += loss_attack(model, rng)
        if reference is not None:
            findings += calibrated_attack(model, reference, rng)
    if compared is not None:
        findings += distance_attack(compared, rng) + ratio_attack(compared, rng)
    tables = [_losses(name, one) for name, one in (("model", model), ("reference model", reference)) if one is not None]
    words = [WORDS]
    if model is None:
        words.append(
            "The generator was not at hand (--model): attacks on its densities, the strongest here, are missing."
        )
    elif model.lost:
        words.append(f"{model.lost:,} real items that the model cannot represent are left out of attacks on densities.")
    return Section("membership", "Membership inference", findings, tables, words)


def _losses(name: str, found: Densities) -> Table:
    rows: list[list[str | float | None]] = []
    for label, values in (("training", found.training), ("holdout", found.holdout), ("synthetic", found.synthetic)):
        known = -values[np.isfinite(values)]
        rows.append([label, float(known.mean()) if len(known) else None, *quantiles(-values, LEVELS)])
    title = f"Negative log-density per item under the {name} in nats ({found.kind or 'none'})"
    return Table(title, ["items", "mean", *(f"{level:.0%}" for level in LEVELS)], rows)
