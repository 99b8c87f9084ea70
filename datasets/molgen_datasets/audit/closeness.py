"""Copies, and whether synthetic items lie closer to the training items than to others that were held out.

Letters in shapes: Q synthetic items, N items of each of the training and the holdout sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from molgen.evaluation.intervals import wilson
from molgen.metric import Estimate
from molgen.metrics.identity import contained
from molgen_datasets.audit.findings import Finding, Section, Table, shares_null
from molgen_datasets.audit.measure import Measure, Nearest, blocks, lowest_two, nearest, quantiles

#: Held-out items of which this share is nearest to a training item are the measure of what is near.
NEAR = 0.01
#: Random divisions of the real items behind a null interval.
DIVISIONS = 500
#: The most points that are as near to an item as its nearest one and are looked at.
_TIED = 64
#: Of distances and of ratios.
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75)
WORDS = (
    "Distances are no proof of privacy: sets that pass every test of this section leak to membership inference "
    "(Yao et al., The DCR Delusion, arXiv 2505.01524). They show copying where there is some, and no more."
)


@dataclass(frozen=True)
class Comparison:
    """The synthetic items beside as many training items as held-out ones.

    Attributes:
        measure: how items are compared.
        synthetic, training, holdout: vectors, (Q, D), (N, D) and (N, D).
        to_training, to_holdout: the neighbours of synthetic items.
        between: the neighbours of held-out items among the training items.
        real_to_synthetic: distances from training and then held-out items to the nearest synthetic one, (2 N,).
        tied: which of both (2 N) are as near to a synthetic item as its nearest one, (Q, 2 N).
    """

    measure: Measure
    synthetic: np.ndarray
    training: np.ndarray
    holdout: np.ndarray
    to_training: Nearest
    to_holdout: Nearest
    between: Nearest
    real_to_synthetic: np.ndarray
    tied: sparse.csr_matrix


def compare(
    measure: Measure, synthetic: np.ndarray, training: np.ndarray, holdout: np.ndarray, rng: np.random.Generator
) -> Comparison:
    """Compare synthetic items (Q, D) with as many training items (N, D) as held-out ones (N, D)."""
    real, size = np.concatenate([training, holdout]), len(training)
    tolerance = measure.tolerance(synthetic, real)
    found, back, ties = np.empty((len(synthetic), 4)), np.full(len(real), np.inf), []
    for rows, compared in blocks(measure, synthetic, real):
        found[rows, :2], found[rows, 2:] = lowest_two(compared[:, :size]), lowest_two(compared[:, size:])
        np.minimum(back, compared.min(0), out=back)
        ties.append(_tied(compared, tolerance, rng))
    distances = measure.distance(found).T
    return Comparison(
        measure,
        synthetic,
        training,
        holdout,
        Nearest(*distances[:2]),
        Nearest(*distances[2:]),
        nearest(measure, holdout, training),
        measure.distance(back),
        sparse.vstack(ties).tocsr(),
    )


def _tied(compared: np.ndarray, tolerance: float, rng: np.random.Generator) -> sparse.csr_matrix:
    near = compared <= compared.min(1, keepdims=True) + tolerance
    for row in np.flatnonzero(near.sum(1) > _TIED):
        places = np.flatnonzero(near[row])
        near[row] = False
        near[row, rng.choice(places, _TIED, replace=False)] = True
    return sparse.csr_matrix(near.astype(np.float32))


# --- closer to which ------------------------------------------------------------------------------


def closer(tied: sparse.csr_matrix, rng: np.random.Generator) -> Finding:
    """The share of synthetic items closer to the training items than to held-out ones, ties half, with its null.

    If training and held-out items were drawn alike and nothing of the division is in the generator, every division of
    all of them into halves is as likely: the null interval holds 95 % of the shares of random divisions. It is wider
    than that of a coin, as one real item may be the nearest of many synthetic ones.

    Source of the share: Platzer and Reutterer, Frontiers in Big Data 4:679939, 2021.

    Args:
        tied: which real items are nearest to each synthetic one, of which the first half is for training, (Q, 2 N).
        rng: draws the divisions.
    """
    count, size = tied.shape[0], tied.shape[1] // 2
    sides = np.zeros((2 * size, DIVISIONS + 1), np.float32)
    sides[:size, 0] = 1
    for column in range(1, DIVISIONS + 1):
        sides[rng.permutation(2 * size)[:size], column] = 1
    shares = _shares(tied, sides)
    value, null = float(shares[0]), shares[1:]
    interval = float(np.quantile(null, 0.025)), float(np.quantile(null, 0.975))
    p = (1 + int((null >= value - 1e-12).sum())) / (1 + DIVISIONS)
    note = f"{size:,} items on each side; p = {p:.3g} by {DIVISIONS} random divisions"
    return Finding("closer to training than to holdout", Estimate(value, *wilson(value, count), count, note), interval)


def _shares(tied: sparse.csr_matrix, sides: np.ndarray) -> np.ndarray:
    """The share of each division, (K,), whose training sides are the columns of (2 N, K)."""
    all_tied = np.asarray(tied.sum(1))
    on_side = tied @ sides
    only, none = on_side == all_tied, on_side == 0
    return np.asarray((only + 0.5 * (~only & ~none)).mean(0))


# --- copies ---------------------------------------------------------------------------------------


def copies(keys: np.ndarray, others: np.ndarray, known: np.ndarray) -> Finding:
    """The share of synthetic items that are training items, beside that of held-out items.

    Args:
        keys: hashes of the keys of synthetic items, uint64 (Q,).
        others: of held-out items.
        known: of the whole training set, ascending.
    """
    own, control = contained(keys, known), contained(others, known)
    return _against_control("exact copies of training items", own, control, f"of {len(known):,} distinct ones")


def near_copies(found: Comparison, threshold: float | None) -> Finding:
    """The share of synthetic items as near to a training item as 1 % of held-out items, or within a distance."""
    if threshold is None:
        limit = float(np.quantile(found.between.first, NEAR, method="lower"))
        note = f"within {limit:.4g}, as the nearest {NEAR:.0%} of held-out items"
    else:
        limit, note = threshold, f"within {threshold:g}"
    slack = 1e-9 + limit * 1e-9
    own, control = (one.first <= limit + slack for one in (found.to_training, found.between))
    return _against_control("near copies of training items", own, control, f"{note}; {found.measure.name}")


def _against_control(label: str, own: np.ndarray, control: np.ndarray, note: str) -> Finding:
    share, other = float(own.mean()), float(control.mean())
    null = shares_null(share, len(own), other, len(control))
    return Finding(label, Estimate(share, *wilson(share, len(own)), len(own), note), null, other)


# --- the section ----------------------------------------------------------------------------------


def section(
    found: Comparison,
    keys: tuple[np.ndarray, np.ndarray, np.ndarray],
    threshold: float | None,
    rng: np.random.Generator,
) -> Section:
    """Copies and closeness.

    Args:
        found: the synthetic items beside the real ones.
        keys: hashes of the keys of synthetic items, of held-out items, and of the whole training set, ascending.
        threshold: the distance of near copies, or None for that of 1 % of held-out items.
        rng: draws the divisions of the null interval.
    """
    findings = [copies(*keys), near_copies(found, threshold), closer(found.tied, rng)]
    table = Table(
        f"Distances and ratios ({found.measure.name})",
        ["", "from", "to", *(f"{level:.0%}" for level in LEVELS)],
        list(_rows(found)),
    )
    words = [WORDS, *_overlap_words(findings[0])]
    return Section("closeness", "Copies and closeness", findings, [table], words)


def _overlap_words(found: Finding) -> Iterator[str]:
    if found.control > 0:
        yield (
            f"{found.control:.2%} of the held-out items are training items too. Where the two sets are no random "
            "division of one, nothing here or under membership inference has the meaning that it is given."
        )


def _rows(found: Comparison) -> Iterator[list[str | float | None]]:
    pairs = (
        ("synthetic", "training", found.to_training),
        ("synthetic", "holdout", found.to_holdout),
        ("holdout", "training", found.between),
    )
    for label, values in (("nearest distance", "first"), ("nearest by second nearest", "ratio")):
        for source, target, near in pairs:
            numbers = quantiles(getattr(near, values), LEVELS)
            yield [label, source, target, *(None if math.isnan(number) else number for number in numbers)]


def without_measure(keys: tuple[np.ndarray, np.ndarray, np.ndarray], domain: str) -> Section:
    """Copies alone, for a domain that does not say how far its items are from each other."""
    words = [WORDS, f"No distances: {domain} names no `distance_feature`."]
    return Section("closeness", "Copies and closeness", [copies(*keys)], words=words)
