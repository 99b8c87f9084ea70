"""Looking for canaries: whether they are made again, and how likely a model finds them beside those never planted.

Letters in shapes: K planted canaries, C controls.
"""

from __future__ import annotations

import math

import numpy as np

from molgen.evaluation.intervals import wilson
from molgen.metric import Estimate
from molgen.metrics.identity import contained
from molgen_datasets.audit.findings import SIDE, Finding, Section, Table, shares_null
from molgen_datasets.audit.rates import told_apart

WORDS = (
    "A canary is in nobody's data but the training file. One that the generator makes again, or finds likelier than "
    "canaries that were not planted, was remembered. Exposure is log2 of the number of candidates by the rank of a "
    "canary among them (Carlini et al., The Secret Sharer, USENIX Security 2019); its mean is 1.44 bits by chance."
)
#: The mean, and the standard deviation, of -log2 of a uniform number.
_CHANCE = 1 / math.log(2)
#: Canaries that are listed.
_SHOWN = 10


def regenerated(planted: np.ndarray, controls: np.ndarray, made: np.ndarray) -> Finding:
    """The share of canaries that are among the synthetic items, by hashes of keys; `made` is ascending."""
    own, other = contained(planted, made), contained(controls, made)
    share, control = float(own.mean()), float(other.mean())
    estimate = Estimate(share, *wilson(share, len(own)), len(own), f"{int(own.sum()):,} of {len(own):,}")
    return Finding("canaries made again", estimate, shares_null(share, len(own), control, len(other)), control)


def exposures(planted: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """The exposure of each planted canary in bits, from log-densities (K,) and (C,): its rank is among the controls.

    Ties count half. It is at most log2 of one more than the controls.
    """
    known = np.sort(controls[~np.isnan(controls)])
    above = len(known) - np.searchsorted(known, planted, side="right")
    tied = np.searchsorted(known, planted, side="right") - np.searchsorted(known, planted, side="left")
    return np.asarray(np.log2(len(known) + 1) - np.log2(1 + above + tied / 2))


def exposure(planted: np.ndarray, controls: np.ndarray) -> Finding:
    """The mean exposure of the planted canaries that the model can represent."""
    known, others = planted[~np.isnan(planted)], int((~np.isnan(controls)).sum())
    if not len(known) or not others:
        return Finding("exposure in bits", Estimate(math.nan, note="the model represents no canary, or no control"))
    bits = exposures(known, controls)
    mean, count = float(bits.mean()), len(bits)
    side = SIDE * float(bits.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    null = SIDE * _CHANCE / math.sqrt(count)
    most = math.log2(others + 1)
    note = f"{count:,} canaries among {others:,} controls; at most {most:.2f}"
    return Finding(
        "exposure in bits",
        Estimate(mean, max(0.0, mean - side), min(most, mean + side), count, note),
        (max(0.0, _CHANCE - null), _CHANCE + null),
    )


def section(
    keys: tuple[np.ndarray, np.ndarray, np.ndarray],
    densities: tuple[np.ndarray, np.ndarray] | None,
    distances: tuple[np.ndarray, np.ndarray] | None,
    rng: np.random.Generator,
) -> Section:
    """What is to be found of canaries.

    Args:
        keys: hashes of the planted canaries (K,), the controls (C,), and all synthetic items, ascending.
        densities: log p of the canaries and the controls, where there is a model.
        distances: from each to the nearest synthetic item, where the domain has distances.
        rng: draws the intervals.
    """
    findings, tables = [regenerated(*keys)], []
    if densities is not None:
        planted, controls = densities
        findings += [exposure(planted, controls), *told_apart("canaries by loss", planted, controls, rng)]
        tables.append(_listed(planted, controls, contained(keys[0], keys[2])))
    if distances is not None:
        near, far = distances
        findings += told_apart("canaries by the nearest synthetic item", -near, -far, rng, "samples alone")
    return Section("canaries", "Canaries", findings, tables, [WORDS])


def _listed(planted: np.ndarray, controls: np.ndarray, made: np.ndarray) -> Table:
    """The most exposed ones."""
    bits = np.where(np.isfinite(planted), exposures(np.nan_to_num(planted, nan=-np.inf), controls), -np.inf)
    rows: list[list[str | float | None]] = [
        [f"{place + 1}", float(-planted[place]), float(bits[place]), "yes" if made[place] else "no"]
        for place in np.argsort(-bits, kind="stable")[:_SHOWN]
        if np.isfinite(planted[place])
    ]
    return Table("The most exposed canaries", ["canary", "-log p in nats", "exposure in bits", "made again"], rows)
