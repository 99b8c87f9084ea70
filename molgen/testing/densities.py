"""What log-densities guarantee beside their form: sums, and agreement with what is sampled. And latents.

Letters in shapes: B batch, S all samples of a space, R repetitions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molgen.batch import Batch, separate
from molgen.errors import UnsupportedSpace
from molgen.family import Density, Family
from molgen.seeding import Rng
from molgen.space import Real, variable_axes
from molgen.testing.batches import require_close, require_same_batch
from molgen.testing.checks import Skipped, require
from molgen.testing.containment import require_batch
from molgen.testing.fixtures import FamilyTrial
from molgen.testing.integrals import Agreement, Estimator, Integral, points_to_integrate
from molgen.testing.random_samples import enumerate_space

#: How far from 1 the sum of exact probabilities may be by rounding, and a mean over points beside four standard errors.
EXACT_SUM, MEAN = 1e-3, 0.02
#: Points of an integral at first and at most, and the doubt of its value beyond which it says nothing.
POINTS, MOST_POINTS, MOST_ERROR = 512, 8192, 0.4
#: Points before a mean counts as wrong.
SURE_POINTS = 65536
#: Points of the integral of a bound, which is estimated several times at each.
BOUND_POINTS = 256
#: Training steps before bounds are summed, and their rate.
STEPS, RATE = 30, 1e-2
#: Repetitions of a bound, whose mean and spread say how sure its sum is, and how unsure it may be.
REPETITIONS, MOST_DOUBT = 8, 0.7
#: Rows of which bounds are estimated at a time.
MOST_ROWS = 1024
#: Draws from which frequencies are taken, and the chance by which right ones fail.
DRAWS, CHANCE = 500, 1e-6


def probabilities_sum_to_one(trial: FamilyTrial) -> None:
    """Over all samples of the space exact probabilities sum to 1, and those under a bound or estimated to 1 at most."""
    family = trial.family()
    kind = trial.density(family).kind
    if kind is Density.ESTIMATE:
        _require_sum_of_estimates(trial, family)
        return
    if kind < Density.LOWER_BOUND:
        raise Skipped(f"a log-density of kind {kind.name} has no sum")
    if kind is Density.EXACT and not _has_classes_only(trial):
        _require_one("the integral of the density over the space", trial, family, Integral)
        return
    if kind is Density.EXACT:
        batches = enumerate_space(trial.space)
        total = sum(float((w * trial.density(family, b, _rng(b, 0)).value.double().exp()).sum()) for b, w in batches)
        require(abs(total - 1) < EXACT_SUM, f"the probabilities of all samples sum to {total:.6f}")
        return
    # Far below the truth a bound could be wrong by much and still have a small sum.
    for _ in trial.training(family, STEPS, RATE):
        pass
    total, doubt = _sum_of_bounds(trial, family)
    if doubt > MOST_DOUBT:
        raise Skipped(f"the bounds are too noisy for their sum, {total:.3g}, to say anything")
    require(total < 1 + doubt, f"the lower bounds of all samples sum to {total:.4f}, more than 1 + {doubt:.4f}")


def _require_sum_of_estimates(trial: FamilyTrial, family: Family) -> None:
    """All estimates share the error of one constant."""
    if not _has_classes_only(trial):
        raise Skipped("an estimated density of numbers has an integral that is as unsure as the estimate")
    total, doubt = 0.0, 0.0
    for batch, weights in enumerate_space(trial.space):
        density = trial.density(family, batch, _rng(batch, 0))
        shares = weights * density.value.double().exp()
        total += float(shares.sum())
        if density.standard_error is not None:
            doubt += 4 * float((shares * density.standard_error).sum())
    if doubt > MOST_DOUBT:
        raise Skipped(f"the estimates are too noisy for their sum, {total:.3g}, to say anything")
    require(
        total < 1 + doubt + EXACT_SUM, f"the estimates of all samples sum to {total:.4f}, more than 1 + {doubt:.4f}"
    )


def _require_one(what: str, trial: FamilyTrial, family: Family, estimate: type[Estimator]) -> None:
    """A mean that should be 1 is, as far as it is known; more points are taken while it is not known well."""

    def log_density(batch: Batch) -> Tensor:
        return trial.density(family, batch, _rng(batch, 0)).value.detach()

    estimator = estimate(trial.space, family, log_density)
    count = POINTS
    mean = estimator.mean(count)
    while 4 * mean.error > MOST_ERROR * max(1, mean.value) and count < MOST_POINTS:
        count *= 4
        mean = estimator.mean(count)
    if abs(mean.value - 1) > 4 * mean.error + mean.unseen + MEAN:
        # Where few points carry most of a mean it looks surer than it is.
        mean = estimator.mean(SURE_POINTS)
    doubt = 4 * mean.error + mean.unseen + MEAN
    if doubt > MOST_ERROR + mean.unseen and abs(mean.value - 1) <= doubt:
        raise Skipped(f"{what} is {mean.value:.3g}, give or take {doubt:.2g}, which says nothing")
    require(abs(mean.value - 1) <= doubt, f"{what} is {mean.value:.4g}, give or take {doubt:.2g}, where 1 is due")


def _rng(batch: Batch, repetition: int) -> Rng:
    return Rng(repetition, range(len(batch)))


def _has_classes_only(trial: FamilyTrial) -> bool:
    return all(not isinstance(field, Real) or field.levels is not None for field in trial.space.values())


def _sum_of_bounds(trial: FamilyTrial, family: Family) -> tuple[float, float]:
    """The sum of exp(bound), and how much of it four standard errors and their effect on exp may be."""
    if _has_classes_only(trial):
        parts = [_shares(trial, family, batch, weights.log()) for batch, weights in enumerate_space(trial.space)]
        share, variance = (torch.cat(part) for part in zip(*parts, strict=True))
        doubt = 4 * float((share**2 * variance).sum()) ** 0.5
    else:
        points, log_q = points_to_integrate(trial.space, family, BOUND_POINTS)
        share, variance = _shares(trial, family, points, -log_q)
        doubt = 4 * float(share.std() / len(share) ** 0.5)
        share = share / len(share)
    # E exp(m + noise) = exp(m + variance / 2) where the noise is normal.
    raised = float(((share.log() + variance / 2).exp() - share).sum())
    return float(share.sum()), doubt + raised + EXACT_SUM


def _shares(trial: FamilyTrial, family: Family, batch: Batch, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """What each sample adds to the sum, and the variance of its mean bound, (B,) each."""
    rows = torch.arange(len(batch)).repeat(REPETITIONS)
    numbers = torch.arange(len(rows)).split(MOST_ROWS)  # each of other random numbers
    found = torch.cat(
        [trial.density(family, batch.take(rows[n]), Rng(0, n.tolist())).value.detach().double() for n in numbers]
    ).view(REPETITIONS, -1)
    return (found.mean(0) + log_weights).exp(), found.var(0) / REPETITIONS


def samples_follow_the_density(trial: FamilyTrial) -> None:
    """Where the density is exact, samples come as often as it says, and say it themselves.

    Classes are counted (Pearson's chi-square); numbers are judged by the mean of q / p, see `integrals`.
    """
    family = trial.family()
    if family.capability.density is not Density.EXACT:
        raise Skipped(f"the density is declared {family.capability.density.name}, not exact")
    drawn = family.sample(DRAWS, rng=Rng(1, range(DRAWS)))
    if drawn.log_density is not None:
        values = trial.density(family, drawn.batch, Rng(1, range(DRAWS))).value
        require_close(drawn.log_density.value, values, "the log-density of samples as drawn and as scored", 1e-3)
    if not _has_classes_only(trial):
        _require_one("the mean of q / p over samples, for a density q,", trial, family, Agreement)
        return
    expected: dict[str, float] = {}
    for batch, _ in enumerate_space(trial.space):
        chances = trial.density(family, batch, _rng(batch, 0)).value.double().exp().tolist()
        expected |= dict(zip(_keys(trial, batch), chances, strict=True))
    chance = _chance_of_more(_keys(trial, drawn.batch), expected)
    require(chance > CHANCE, f"samples are not as frequent as their density says (chi-square, p = {chance:.1g})")


def _keys(trial: FamilyTrial, batch: Batch) -> list[str]:
    """The samples of a batch as something that can be counted."""
    return [str({name: array.tolist() for name, array in s.items()}) for s in separate(trial.space, batch)]


def _chance_of_more(found: list[str], expected: dict[str, float]) -> float:
    """The probability of a larger chi-square statistic; samples that are rarely expected are taken together."""
    cells, rest = [], [0.0, 0.0]
    for key, chance in expected.items():
        cell = [float(found.count(key)), len(found) * chance]
        if cell[1] >= 5:
            cells.append(cell)
        else:
            rest = [rest[0] + cell[0], rest[1] + cell[1]]
    cells += [rest] if rest[1] >= 5 else []
    statistic = sum((seen - due) ** 2 / due for seen, due in cells)
    freedom = max(1, len(cells) - 1)
    return float(torch.special.gammaincc(torch.tensor(freedom / 2), torch.tensor(statistic / 2)))


def latents_have_their_space(trial: FamilyTrial) -> None:
    """Where latents are declared: encode gives samples of `latent_space`, decode gives samples of the space."""
    family = trial.family()
    if not family.capability.latent:
        _require_no_latents(family)
        raise Skipped("the family declares no latents (Capability.latent)")
    _require_fixed_axes(trial, family)
    mean = family.encode(trial.batch)
    require_batch(family.latent_space, mean)
    require(len(mean) == len(trial.batch), f"{len(trial.batch)} items have {len(mean)} latents")
    require_same_batch(family.latent_space, mean, family.encode(trial.batch), "the latent means of the same items")
    drawn = family.encode(trial.batch, rng=trial.rng)
    require_batch(family.latent_space, drawn)
    sizes = dict(trial.batch.sizes)
    for rng in (None, trial.rng):
        decoded = family.decode(mean, rng=rng, sizes=sizes or None).batch
        require_batch(trial.space, decoded)
        for name, size in sizes.items():
            require_close(decoded.sizes[name], size, f"the sizes of {name!r} that decode was given and gives", 0)
        require(len(decoded) == len(mean), f"{len(mean)} latents have {len(decoded)} samples")
    require_batch(trial.space, family.decode(drawn, rng=trial.rng).batch)


def _require_no_latents(family: Family) -> None:
    try:
        found = family.latent_space
    except UnsupportedSpace:
        return
    require(False, f"the family declares no latents, and has the latent space {dict(found)}")


def _require_fixed_axes(trial: FamilyTrial, family: Family) -> None:
    own = [name for name in variable_axes(family.latent_space) if name not in variable_axes(trial.space)]
    require(
        not own, f"the latent space has the variable axes {', '.join(own)}; latents have fixed ones, or the sample's"
    )
