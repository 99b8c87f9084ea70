"""Membership inference: whether training items can be told from held-out ones by the generator, or by its samples.

Letters in shapes: N items of each of the training and the holdout sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from molgen.domain import Item
from molgen.inference.score import UNNORMALISED, score
from molgen_datasets.audit.closeness import Comparison
from molgen_datasets.audit.findings import Finding, Section, Table
from molgen_datasets.audit.measure import nearest, quantiles
from molgen_datasets.audit.rates import told_apart

if TYPE_CHECKING:
    from molgen.model.generative_model import GenerativeModel

#: Values that the variance of all items counts for beside those of one; see `spread`.
PRIOR = 4
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


def calibrated_attack(found: Densities, references: Sequence[Densities], rng: np.random.Generator) -> list[Finding]:
    """Members are what the model finds likelier than models of other data do (Watson et al., ICLR 2022)."""
    reference = mean_of(references)
    with np.errstate(invalid="ignore"):  # what neither model thinks possible says nothing
        members, others = found.training - reference.training, found.holdout - reference.holdout
    many = "the mean of the reference models" if len(references) > 1 else "that of the reference model"
    note = f"log-density less {many}, which must not have seen the training set"
    return told_apart("loss, calibrated", members, others, rng, note)


def mean_of(references: Sequence[Densities]) -> Densities:
    """The mean log-density of each item under several models."""
    training, holdout, synthetic = (
        np.mean([getattr(one, side) for one in references], axis=0) for side in ("training", "holdout", "synthetic")
    )
    return Densities(training, holdout, synthetic, references[0].kind)


def likelihood_ratio_attack(
    found: Densities, references: Sequence[Densities], rng: np.random.Generator
) -> list[Finding]:
    """Members are what the model finds likelier than one without them would, given how much such models differ.

    The log-density of an item under models that have not seen it is taken for normal, and that of the model counts in
    standard deviations above its mean.

    Source: LiRA in its offline form, Carlini et al., IEEE S&P 2022, section VI.
    """
    sides = [np.stack([getattr(one, side) for one in references]) for side in ("training", "holdout")]
    spreads = np.split(spread(np.concatenate(sides, axis=1)), [len(found.training)])
    with np.errstate(invalid="ignore"):
        members, others = (
            (own - side.mean(0)) / wide
            for own, side, wide in zip((found.training, found.holdout), sides, spreads, strict=True)
        )
    note = f"standard deviations above {len(references)} reference models, which must not have seen either set"
    return told_apart("likelihood ratio (LiRA, offline)", members, others, rng, note)


def spread(values: np.ndarray) -> np.ndarray:
    """The standard deviation of each of N items over K models, float64 (N,), from (K, N).

    The variance of a few values is moderated by the usual one of all items, as if that were of `PRIOR` values more
    (Smyth, Stat. Appl. Genet. Mol. Biol. 3(1), 2004, sections 5 and 6.2, there with a weight that is estimated).
    """
    free = len(values) - 1
    with np.errstate(invalid="ignore"):
        own = values.var(0, ddof=1)
    known = own[np.isfinite(own) & (own > 0)]
    # The mean of log s^2 lies this much below log sigma^2 where s^2 has so many degrees of freedom.
    usual = float(np.exp(np.log(known).mean() - special.digamma(free / 2) + np.log(free / 2))) if len(known) else 1.0
    return np.asarray(np.sqrt((free * own + PRIOR * usual) / (free + PRIOR)))


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
    references: Sequence[Densities],
    rng: np.random.Generator,
) -> Section:
    """All attacks for which there is what they need."""
    findings: list[Finding] = []
    if model is not None:
        findings += loss_attack(model, rng)
        if references:
            findings += calibrated_attack(model, references, rng)
        if len(references) > 1:
            findings += likelihood_ratio_attack(model, references, rng)
    if compared is not None:
        findings += distance_attack(compared, rng) + ratio_attack(compared, rng)
    named = {"model": model, "reference model": references[0] if len(references) == 1 else None}
    if len(references) > 1:
        named |= {"reference models, in the mean": mean_of(references)}
    tables = [_losses(name, one) for name, one in named.items() if one is not None]
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
