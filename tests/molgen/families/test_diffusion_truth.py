"""Diffusion with networks that know the truth: samples, bounds and densities against exact answers."""

import math
from itertools import product

import pytest
import torch
from support.denoisers import (
    CENTRED,
    CLASSES,
    LENGTH,
    LEVELS,
    POINT,
    WORDS,
    Chain,
    Mixture,
    TrueChain,
    TrueClasses,
    TrueLevels,
    TrueMixture,
    every_pair,
    every_word,
    level_probabilities,
    word_probabilities,
)

from molgen.backbone import make_build
from molgen.batch import Batch, Partial, levels_to_values, values_to_levels
from molgen.data.statistics import Moments, Statistics
from molgen.families.diffusion import Diffusion, DiffusionConfig
from molgen.family import Density
from molgen.seeding import Rng

every_kernel = pytest.mark.parametrize("name", ["absorbing", "uniform", "marginal"])
P = word_probabilities()


def knows_words(name):
    family = Diffusion(WORDS, make_build(TrueClasses, None, None), DiffusionConfig(categorical=name)).double().eval()
    process = family.denoiser.of("x")
    family.denoiser.backbone.process = process
    if name == "marginal":
        process.target.copy_(torch.stack([(P[:, None] * (every_word() == k)).sum() for k in range(CLASSES)]) / LENGTH)
    return family


def knows_points():
    family = Diffusion(POINT, make_build(TrueMixture, None, None), DiffusionConfig()).double().eval()
    family.denoiser.backbone.process = family.denoiser.of("x")
    return family


def knows_levels(name):
    family = Diffusion(LEVELS, make_build(TrueLevels, None, None), DiffusionConfig(real=name)).double().eval()
    family.denoiser.backbone.process = family.denoiser.of("x")
    pairs = levels_to_values(LEVELS["x"], every_pair()).double()
    moments = Moments.from_sums(2.0, *(float(level_probabilities() @ (pairs**k).sum(1)) for k in (1, 2)))
    family.initialise(None, Statistics(moments={"x": moments}))
    return family


def numbers(words):
    return (words * torch.tensor([CLASSES**k for k in reversed(range(LENGTH))])).sum(1)


def chi_square_p(found, expected):
    """The probability of a larger chi-square statistic of counts; cells that expect few are taken together."""
    rare = expected < 5
    found, expected = (torch.cat([one[~rare], one[rare].sum()[None]]) for one in (found, expected))
    found, expected = found[expected > 0], expected[expected > 0]
    statistic = ((found - expected) ** 2 / expected).sum()
    return float(torch.special.gammaincc(torch.tensor((len(found) - 1) / 2), statistic.float() / 2))


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("absorbing", {}),
        ("absorbing", {"order": "confidence"}),
        ("absorbing", {"steps": 64, "churn": 0.5}),
        ("uniform", {"steps": 48}),
        ("marginal", {"steps": 48}),
        ("marginal", {"steps": 48, "churn": 0.5}),
    ],
)
def test_words_are_as_frequent_as_the_truth(name, options):
    count = 3000
    drawn = knows_words(name).sample(count, rng=Rng(0, range(count)), **options).batch.fields["x"]
    found = torch.bincount(numbers(drawn), minlength=len(P))
    assert chi_square_p(found, count * P) > 1e-3


def test_one_step_draws_letters_by_themselves():
    count = 4000
    drawn = knows_words("absorbing").sample(count, rng=Rng(0, range(count)), steps=1).batch.fields["x"]
    words = every_word()
    letters = torch.stack([(P[:, None] * (words == k)).sum(0) for k in range(CLASSES)], 1)
    independent = torch.stack([letters[place, words[:, place]] for place in range(LENGTH)]).prod(0)
    assert chi_square_p(torch.bincount(numbers(drawn), minlength=len(P)), count * independent) > 1e-3
    assert chi_square_p(torch.bincount(numbers(drawn), minlength=len(P)), count * P) < 1e-6


def test_known_letters_are_exact_conditioning():
    count = 3000
    known = Partial(Batch({"x": torch.tensor([[0, 2, 0]])}, {}), {"x": torch.tensor([[False, True, False]])})
    family = knows_words("absorbing")
    rows = torch.zeros(count, dtype=torch.long)
    drawn = family.sample(count, rng=Rng(0, range(count)), known=known.take(rows)).batch.fields["x"]
    assert (drawn[:, 1] == 2).all()
    given = every_word()[:, 1] == 2
    expected = P[given] / P[given].sum()
    found = torch.bincount(numbers(drawn), minlength=len(P))[given]
    assert chi_square_p(found, count * expected) > 1e-3


def repeated_bound(family, items, repetitions=200, **options):
    """The mean of repetitions for each item, its standard error, their spread, and what they reported as that."""
    batch = Batch({"x": items.repeat_interleave(repetitions, 0)}, {})
    found = family.log_density(batch, rng=Rng(0, range(len(batch))), **options)
    assert found.kind is Density.LOWER_BOUND
    values = found.value.view(len(items), repetitions)
    spread, reported = (one.square().mean().sqrt().item() for one in (values.std(1), found.standard_error))
    return values.mean(1), values.std(1) / repetitions**0.5, spread, reported


@every_kernel
def test_the_bound_on_classes_in_continuous_time_is_the_truth(name):
    mean, error, spread, reported = repeated_bound(knows_words(name), every_word())
    assert ((mean - P.log()).abs() < 4.5 * error).all()
    assert reported == pytest.approx(spread, rel=0.3)
    # Less noisy than single words.
    assert abs(float(P @ (P.log() - mean))) < 4 * float((P**2 @ error**2) ** 0.5)
    assert float(mean.exp().sum()) == pytest.approx(1, abs=4 * float((mean.exp() ** 2 @ error**2) ** 0.5))


def likelihood_of_steps(family, steps):
    """The exact log-likelihood of every word when the family samples in some steps, by summing over all paths."""
    process, times = family.denoiser.of("x"), torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    count = process.network_field.classes
    states = torch.tensor(list(product(range(count), repeat=LENGTH)))
    elements = family._elements(Batch({"x": states}, {}))
    first = process.prior(torch.full((1, 1), 0.5).double()).item() if process.time_independent else None
    p = (states == first).all(1).double() if process.time_independent else process.pi[states].prod(1)
    for time, earlier in zip(times.flip(0)[:-1], times.flip(0)[1:], strict=True):
        now, then = time.expand(len(states)), earlier.expand(len(states))
        predictions = family.denoiser({"x": states}, now, elements, None)["x"]
        each = process.posterior(states, predictions.exp(), now, then)
        p = p @ torch.stack([each[:, place, states[:, place]] for place in range(LENGTH)]).prod(0)
    assert float(p.sum()) == pytest.approx(1)
    return p[(states < CLASSES).all(1)].log()


@every_kernel
@pytest.mark.parametrize("temper", [1.0, 0.4])
def test_the_bound_of_some_steps_is_below_their_exact_likelihood(name, temper):
    family = knows_words(name)
    process = family.denoiser.of("x")
    # A network that knows less than the truth is as good an example.
    predict = process.predict
    process.predict = lambda output, x, time: process.reverse.temper(predict(output, x, time), 1 / temper)
    gaps, errors = [], []
    for steps in (1, 3, 16):
        with torch.no_grad():
            exact = likelihood_of_steps(family, steps)
        mean, error, _, _ = repeated_bound(family, every_word(), steps=steps)
        assert (mean <= exact + 4 * error + 1e-9).all()
        gaps.append(float(P @ (P.log() - mean)))
        errors.append(float((P**2 @ error**2) ** 0.5))
    if temper == 1:
        assert gaps[0] > gaps[1] + 3 * errors[1] > gaps[2] + 3 * errors[2] > 0


def test_one_step_of_masking_scores_letters_by_themselves():
    family, words = knows_words("absorbing"), every_word()
    letters = torch.stack([(P[:, None] * (words == k)).sum(0) for k in range(CLASSES)], 1)
    expected = torch.stack([letters[place, words[:, place]] for place in range(LENGTH)]).log().sum(0)
    found = family.log_density(Batch({"x": words}, {}), rng=Rng(0, range(len(words))), steps=1, samples=2)
    torch.testing.assert_close(found.value, expected)
    assert found.standard_error.max() < 1e-9


def test_the_training_loss_of_classes_is_a_bound_in_nats():
    family, words = knows_words("absorbing"), every_word()
    batch = Batch({"x": words.repeat_interleave(200, 0)}, {})
    loss = family.loss(batch, None, Rng(0, range(len(batch)))).total.detach().view(len(words), 200)
    mean, error = loss.mean(1), loss.std(1) / 200**0.5
    assert ((mean + P.log()).abs() < 4.5 * error).all()


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"steps": 48}, {"steps": 80, "solver": "heun"}, {"steps": 100, "churn": 0.5}], ids=str
)
def test_points_have_the_mean_and_the_covariance_of_the_truth(options):
    count = 2000
    drawn = knows_points().sample(count, rng=Rng(0, range(count)), **options).batch.fields["x"]
    mean, covariance = Mixture().moments()
    error = (covariance.diagonal() / count).sqrt()
    assert ((drawn.mean(0) - mean).abs() < 4 * error).all()
    # The fourth moment of a mixture is at most a few times that of a normal distribution.
    error = ((covariance.diagonal()[:, None] * covariance.diagonal() + covariance**2) / count).sqrt()
    assert ((torch.cov(drawn.T) - covariance).abs() < 5 * error).all()
    surprise, entropy = -Mixture().log_density(drawn), -Mixture().log_density(Mixture().draw(20_000))
    assert float(surprise.mean() - entropy.mean()) == pytest.approx(0, abs=4 * float(surprise.std()) / count**0.5)


def drawn_about_a_fragment(chain, distance, count, **options):
    """The points about the mean of the first two, which are known up to a translation, (count, 4)."""
    family = Diffusion(CENTRED, make_build(TrueChain, None, None), DiffusionConfig()).double().eval()
    network = family.denoiser.backbone
    network.process, network.chain = family.denoiser.of("x"), chain
    fragment = torch.tensor([0.0, distance, 0.0, 0.0], dtype=torch.float64) + 5
    known = Partial(
        Batch({"x": fragment[None, :, None].expand(count, -1, 1)}, {}),
        {"x": torch.tensor([True, True, False, False]).expand(count, -1)},
    )
    points = family.sample(count, rng=Rng(0, range(count)), known=known, **options).batch.fields["x"].squeeze(-1)
    assert points.sum(1).abs().max() < 1e-9
    assert (points[:, 1] - points[:, 0] - distance).abs().max() < 1e-9
    return points - points[:, :2].mean(1, keepdim=True)


def about_the_fragment(chain, distance):
    """The true means and standard deviations of the two other points about the mean of the first two."""
    mean, covariance = chain.given_distance(distance)
    about = torch.tensor([[-0.5, -0.5, 1, 0], [-0.5, -0.5, 0, 1]], dtype=torch.float64)
    return about @ mean, (about @ covariance @ about.T).diagonal().sqrt()


@pytest.mark.parametrize("distance", [2.0, -0.6])
def test_the_rest_of_a_centred_field_is_drawn_around_a_fragment(distance):
    chain, count = Chain(), 600
    found = drawn_about_a_fragment(chain, distance, count, steps=32)[:, 2:]
    mean, deviation = about_the_fragment(chain, distance)
    assert ((found.mean(0) - mean).abs() < 4 * deviation / count**0.5).all()
    assert ((found.std(0) / deviation - 1).abs() < 4 / (2 * count) ** 0.5 + 0.03).all()


def test_noise_that_is_put_back_brings_a_fragment_and_what_depends_on_it_together():
    chain, count = Chain(correlation=0.9), 400
    mean, _ = about_the_fragment(chain, 2.0)
    errors = [
        (drawn_about_a_fragment(chain, 2.0, count, steps=48, churn=churn)[:, 2:].mean(0) - mean).abs().max()
        for churn in (0.0, 3.0)
    ]
    assert errors[1] < 0.7 * errors[0]


def test_few_steps_already_find_the_places():
    drawn = knows_points().sample(500, rng=Rng(0, range(500)), steps=6).batch.fields["x"]
    mean, covariance = Mixture().moments()
    assert (drawn.mean(0) - mean).abs().max() < 0.15
    assert (drawn.std(0) / covariance.diagonal().sqrt() - 1).abs().max() < 0.5


def test_the_bound_on_numbers_is_below_the_truth_and_tightens_to_it():
    points, gaps, errors = Mixture().draw(4), [], []
    for steps in (16, 64, 0):
        mean, error, spread, reported = repeated_bound(knows_points(), points, 300, steps=steps)
        assert (mean <= Mixture().log_density(points) + 4 * error).all()
        assert reported == pytest.approx(spread, rel=0.3)
        gaps.append(float((Mixture().log_density(points) - mean).mean()))
        errors.append(float(error.square().sum() ** 0.5) / len(points))
    assert gaps[0] > gaps[1] + 5 * errors[1]
    assert gaps[1] > gaps[2] + 5 * errors[2]
    assert abs(gaps[2]) < 4 * errors[2]


@pytest.mark.parametrize("name", ["gaussian", "quantised"])
def test_levels_are_as_frequent_as_the_truth(name):
    count = 3000
    drawn = knows_levels(name).sample(count, rng=Rng(0, range(count)), steps=32).batch.fields["x"]
    levels = values_to_levels(LEVELS["x"], drawn)
    found = torch.bincount(levels @ torch.tensor([3, 1]), minlength=9)
    assert chi_square_p(found, count * level_probabilities()) > 1e-3


@pytest.mark.parametrize("name", ["gaussian", "quantised"])
def test_the_bound_on_levels_is_below_the_truth_and_tightens_to_it(name):
    items, truth = levels_to_values(LEVELS["x"], every_pair()).double(), level_probabilities().log()
    for steps in (32, 0):
        mean, error, spread, reported = repeated_bound(knows_levels(name), items, 300, steps=steps)
        assert (mean <= truth + 4 * error).all()
        assert reported == pytest.approx(spread, rel=0.3)
    assert ((truth - mean) < 4.5 * error + 0.01).all()
    assert mean.exp().sum() < 1 + 4 * (mean.exp() ** 2 @ error**2).sqrt()


def test_the_density_by_the_probability_flow_is_that_of_the_truth():
    points = Mixture().draw(4)
    batch, truth = Batch({"x": points}, {}), Mixture().log_density(points, 0.004**2)
    found = [knows_points().log_density(batch, method="ode", steps=steps) for steps in (12, 48)]
    assert found[1].kind is Density.EXACT
    errors = [(one.value - truth).abs() for one in found]
    # What remains is the mean of the data, which the highest noise level does not quite drown: |mean| / 160.
    assert errors[1].max() < 2e-3
    assert errors[1].max() < errors[0].max()
    assert (errors[0] < 3 * found[0].standard_error + 1e-3).all()


def test_random_directions_estimate_the_density_by_the_probability_flow():
    points = Mixture().draw(2)
    batch = Batch({"x": points}, {})
    exact = knows_points().log_density(batch, method="ode", steps=24)
    guess = knows_points().log_density(batch, rng=Rng(0, range(2)), method="ode", steps=24, samples=16)
    assert guess.kind is Density.ESTIMATE
    assert ((guess.value - exact.value).abs() < 4 * guess.standard_error).all()
    assert math.isfinite(float(guess.standard_error.max()))
