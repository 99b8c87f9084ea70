"""The corruption processes of diffusion, against brute force: kernels, posteriors, bounds, noise levels."""

import math

import pytest
import torch
from torch.nn.functional import one_hot

from molgen.data.statistics import Moments, Statistics
from molgen.errors import UnsupportedSpace
from molgen.families.diffusion.config import DiffusionConfig, Sampling
from molgen.families.diffusion.gaussian import Gaussian, QuantisedGaussian, log_mass
from molgen.families.diffusion.gaussian_sampling import SOLVERS
from molgen.families.diffusion.process import process
from molgen.families.diffusion.schedule import GaussianSchedule, LinearSchedule, sampling_times
from molgen.families.diffusion.unmasking import most_confident_first
from molgen.space import Axis, Categorical, Field, Real

CLASSES = 3
COUNTS = [6, 1, 3]
#: Uniform numbers that stand for all.
EVEN = (torch.arange(30_000, dtype=torch.float64) + 0.5) / 30_000
TIMES = [(0.4, 0.1), (0.9, 0.85), (1.0, 0.3), (0.7, 0.0), (1.0, 0.0)]

every_kernel = pytest.mark.parametrize("name", ["absorbing", "uniform", "marginal"])


def a_kernel(name, classes=CLASSES, counts=COUNTS):
    kernel = process(Categorical((Axis("n", 4),), classes=classes), DiffusionConfig(categorical=name)).double()
    kernel.initialise("x", Statistics(marginals={"x": counts}))
    return kernel


def gaussian(levels=None, moments=None, **config):
    noise = process(Real((Axis("n", 4),), levels=levels), DiffusionConfig(**config)).double()
    assert isinstance(noise, Gaussian)
    noise.initialise("x", Statistics(moments={"x": moments} if moments else {}))
    return noise


def at(time, rows=1):
    return torch.full((rows,), time, dtype=torch.float64)


def ahead(name, time):
    """q(x_t | x_0) as a matrix over the classes of a state, written down by hand."""
    states = CLASSES + (name == "absorbing")
    replaced = time if name == "absorbing" else math.sin(math.pi * time / 2) ** 2
    target = {
        "absorbing": torch.tensor([0.0] * CLASSES + [1.0]),
        "uniform": torch.ones(CLASSES).double() / CLASSES,
        "marginal": (torch.tensor(COUNTS).double() + 0.5) / (sum(COUNTS) + 0.5 * CLASSES),
    }[name].double()
    return (1 - replaced) * torch.eye(states, dtype=torch.float64) + replaced * target


def between(name, time, earlier):
    """q(x_t | x_s): what takes q(x_s | x_0) to q(x_t | x_0)."""
    return torch.linalg.solve(ahead(name, earlier), ahead(name, time))


def states(name):
    return torch.arange(CLASSES + (name == "absorbing"))


# --- kernels --------------------------------------------------------------------------------------


@every_kernel
@pytest.mark.parametrize("time", [0.0, 0.2, 0.7, 1.0])
def test_corruption_has_the_frequencies_of_the_kernel(name, time):
    kernel, expected = a_kernel(name), ahead(name, time)
    for x0 in range(CLASSES):
        x = kernel.corrupt(torch.full((1, len(EVEN)), x0), at(time), EVEN[None])
        found = torch.bincount(x[0], minlength=len(expected)) / len(EVEN)
        torch.testing.assert_close(found.double(), expected[x0], rtol=0, atol=2e-4)


@every_kernel
@pytest.mark.parametrize(("time", "later"), [(0.0, 0.3), (0.2, 0.7), (0.5, 1.0), (0.6, 0.6)])
def test_renoising_takes_one_time_to_the_other(name, time, later):
    kernel, expected = a_kernel(name), between(name, later, time)
    for x in states(name).tolist():
        noised = kernel.renoise(torch.full((1, len(EVEN)), x), at(time), at(later), EVEN[None])
        found = torch.bincount(noised[0], minlength=len(expected)) / len(EVEN)
        torch.testing.assert_close(found.double(), expected[x], rtol=0, atol=2e-4)


@every_kernel
def test_noise_is_where_the_kernel_leads_and_stays_there(name):
    kernel, target = a_kernel(name), ahead(name, 1.0)[0]
    found = torch.bincount(kernel.prior(EVEN[None])[0], minlength=len(target)) / len(EVEN)
    torch.testing.assert_close(found.double(), target, rtol=0, atol=2e-4)
    torch.testing.assert_close(target @ between(name, 0.8, 0.3), target)


@every_kernel
@pytest.mark.parametrize(("time", "earlier"), TIMES)
def test_the_posterior_is_that_of_bayes(name, time, earlier):
    kernel, now, before, step = a_kernel(name), ahead(name, time), ahead(name, earlier), between(name, time, earlier)
    for x0 in range(CLASSES):
        for x in states(name).tolist():
            if now[x0, x] == 0:
                continue
            p = one_hot(torch.tensor([[x0]]), CLASSES).double()
            found = kernel.posterior(torch.tensor([[x]]), p, at(time), at(earlier))[0, 0]
            expected = before[x0] * step[:, x] / now[x0, x]
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@every_kernel
@pytest.mark.parametrize(("time", "earlier"), TIMES)
def test_the_posterior_of_a_guess_is_the_mean_over_the_guess(name, time, earlier):
    kernel, p = a_kernel(name), torch.tensor([[[0.2, 0.5, 0.3]]], dtype=torch.float64)
    x = torch.tensor([[CLASSES if name == "absorbing" else 1]])
    each = torch.stack(
        [
            kernel.posterior(x, one_hot(torch.tensor([[k]]), CLASSES).double(), at(time), at(earlier))
            for k in range(CLASSES)
        ]
    )
    found = kernel.posterior(x, p, at(time), at(earlier))
    torch.testing.assert_close(found, (p.movedim(-1, 0)[..., None] * each).sum(0))
    assert found.sum().item() == pytest.approx(1)


def draws_and_guesses(kernel, time, rows=200):
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randint(CLASSES, (rows, 4), generator=generator)
    noise = torch.rand(rows, 4, generator=generator, dtype=torch.float64)
    guess = torch.randn(rows, 4, CLASSES, generator=generator, dtype=torch.float64).log_softmax(-1)
    exists = torch.rand(rows, 4, generator=generator) < 0.8
    return x0, kernel.corrupt(x0, at(time, rows), noise), guess, exists


@every_kernel
@pytest.mark.parametrize(("time", "earlier"), TIMES)
def test_a_step_costs_the_divergence_of_the_posteriors(name, time, earlier):
    kernel = a_kernel(name)
    x0, x, guess, exists = draws_and_guesses(kernel, time)
    times = at(time, len(x)), at(earlier, len(x))
    p, q = kernel.posterior(x, guess.exp(), *times), kernel.posterior(x, one_hot(x0, CLASSES).double(), *times)
    expected = torch.where(exists[..., None], torch.xlogy(q, q) - torch.xlogy(q, p), 0.0).sum((1, 2))
    if name == "absorbing":
        # What is not masked is known: the guess does not matter there.
        assert torch.equal(p[x != kernel.mask], q[x != kernel.mask])
    torch.testing.assert_close(kernel.step_bound(guess, x0, x, *times, exists), expected)


@every_kernel
@pytest.mark.parametrize("time", [0.05, 0.5, 0.95])
def test_the_rate_of_the_bound_is_that_of_short_steps(name, time):
    kernel, length = a_kernel(name), 1e-5
    x0, x, guess, exists = draws_and_guesses(kernel, time)
    found = kernel.rate_bound(guess, x0, x, at(time, len(x)), exists)
    steps = kernel.step_bound(guess, x0, x, at(time, len(x)), at(time - length, len(x)), exists) / length
    torch.testing.assert_close(found, steps, rtol=2e-3, atol=1e-3)


@every_kernel
def test_steps_are_draws_from_the_posterior(name):
    kernel, time, earlier = a_kernel(name), 0.8, 0.5
    guess = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log().expand(1, len(EVEN), -1)
    x = torch.full((1, len(EVEN)), kernel.mask if name == "absorbing" else 2)
    # Unmasking times are uniform up to the time, whatever their choices are.
    times = time * EVEN[None, torch.randperm(len(EVEN), generator=torch.Generator().manual_seed(0))]
    drawn = kernel.reverse.step(guess, x, at(time), at(earlier), EVEN[None], times)[0]
    expected = kernel.posterior(x[:, :1], guess[:, :1].exp(), at(time), at(earlier))[0, 0]
    found = torch.bincount(drawn, minlength=len(expected)) / len(EVEN)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.01)


def test_all_is_open_at_time_zero():
    kernel = a_kernel("absorbing")
    guess = torch.zeros(1, 4, CLASSES, dtype=torch.float64).log_softmax(-1)
    times = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    masked = kernel.prior(torch.rand(1, 4))
    assert (kernel.reverse.step(guess, masked, at(1.0), at(0.0), torch.rand(1, 4).double(), times) < CLASSES).all()
    first = kernel.reverse.step(guess, masked, at(1.0), at(0.25), torch.rand(1, 4).double(), times)
    assert (first == kernel.mask).tolist() == [[True, True, False, False]]


def test_the_most_confident_of_the_masked_comes_next_and_the_times_stay_the_same():
    times = {"a": torch.tensor([[0.9, 0.1, 0.5]]), "b": torch.tensor([[0.3, 0.7]])}
    confidence = {"a": torch.tensor([[-torch.inf, -0.2, -3.0]]), "b": torch.tensor([[-1.0, -torch.inf]])}
    found = most_confident_first(times, confidence)
    assert found["a"].tolist()[0] == pytest.approx([0.9, 0.5, 0.1])
    assert found["b"].tolist()[0] == pytest.approx([0.3, 0.7])


def test_only_masks_have_a_confidence_which_falls_with_the_entropy():
    kernel = a_kernel("absorbing")
    prediction = torch.tensor([[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]]).log()
    x = torch.tensor([[kernel.mask, kernel.mask, 0, kernel.mask]])
    found = kernel.reverse.confidence(prediction, x, torch.tensor([[True, True, True, False]]))
    assert found.tolist()[0] == pytest.approx([-math.log(2), 0, -math.inf, -math.inf])


# --- noise on numbers ---------------------------------------------------------------------------------


def test_levels_and_times_are_inverse_and_the_levels_are_normal():
    schedule = GaussianSchedule(0.004, 160.0, -0.5, 1.2)
    time = torch.linspace(0, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(schedule.time_of_sigma(schedule.sigma(time)), time, rtol=0, atol=1e-9)
    ends = schedule.sigma(torch.tensor([0.0, 1.0]))
    assert ends.tolist() == pytest.approx([0.004, 160.0], rel=1e-6)
    logs = schedule.sigma(EVEN).log()
    assert [logs.mean().item(), logs.std().item()] == pytest.approx([-0.5, 1.2], abs=2e-3)
    assert schedule.c_noise(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0, 1], abs=1e-6)


def test_the_noise_levels_of_sampling_are_those_of_edm():
    schedule, steps = GaussianSchedule(0.004, 160.0, -0.5, 1.2), 18
    shares = torch.arange(steps, dtype=torch.float64) / (steps - 1)
    root = 160 ** (1 / 7) + (1 - shares) * (0.004 ** (1 / 7) - 160 ** (1 / 7))
    torch.testing.assert_close(schedule.sigma(schedule.time(shares)), root**7, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "schedule", [LinearSchedule(), GaussianSchedule(0.004, 160.0, -0.5, 1.2), GaussianSchedule(0.2, 40.0, 0.0, 1.0)]
)
def test_rates_are_derivatives(schedule):
    share = torch.linspace(0.05, 0.95, 19, dtype=torch.float64).requires_grad_()
    (derivative,) = torch.autograd.grad(schedule.time(share).sum(), share)
    torch.testing.assert_close(schedule.dt_du(share.detach()), derivative, rtol=1e-6, atol=1e-12)
    if isinstance(schedule, GaussianSchedule):
        (slope,) = torch.autograd.grad(schedule.sigma(share).log().sum(), share)
        torch.testing.assert_close(schedule.dlogsigma_dt(share.detach()), slope)


def test_the_times_of_two_schedules_are_those_of_both():
    even, levels = LinearSchedule(), GaussianSchedule(0.004, 160.0, -0.5, 1.2)
    times = sampling_times({even, levels}, 40)
    assert times[[0, -1]].tolist() == [0, 1]
    assert (times.diff() >= 0).all()
    # In 2 steps at most they go as far as one schedule does in 1.
    for schedule in (even, levels):
        own = sampling_times({schedule}, 40)
        within = ((times[:, None] >= own[:-1]) & (times[:, None] < own[1:])).sum(0)
        assert (within + within.roll(1))[1:].min() >= 1


def test_levels_without_order_are_refused():
    with pytest.raises(ValueError, match="must rise"):
        gaussian(lowest_noise=2.0, highest_noise=1.0)
    with pytest.raises(ValueError, match="spreads above"):
        gaussian(noise_spread=0.1)


def test_the_network_with_output_zero_denoises_standard_normal_data_best():
    noise, rows = gaussian(), 20_000
    generator = torch.Generator().manual_seed(0)
    x0, uniform = torch.randn(rows, 4, generator=generator), torch.rand(rows, 4, generator=generator).double()
    exists = torch.ones(rows, 4, dtype=torch.bool)
    for time in (0.1, 0.6, 0.99):
        x = noise.corrupt(x0, at(time, rows), uniform)
        best = noise.predict(torch.zeros(rows, 4, 1), x, at(time, rows))
        # The target of F has unit variance at every level: the weight makes all levels equally hard.
        loss = noise.loss(best, x0, x, at(time, rows), exists)
        assert loss.mean().item() == pytest.approx(1, abs=0.03)
        read = noise.network_input(x, at(time, rows))
        assert read.std().item() == pytest.approx(1, abs=0.02)


def test_the_rate_of_the_bound_on_numbers_is_that_of_short_steps():
    noise, length = gaussian(), 1e-6
    x0, guess = torch.randn(5, 4).double(), torch.randn(5, 4).double()
    exists = torch.tensor([True, True, True, False]).expand(5, 4)
    for time in (0.2, 0.7):
        found = noise.rate_bound(guess, x0, x0, at(time, 5), exists)
        steps = noise.step_bound(guess, x0, x0, at(time, 5), at(time - length, 5), exists) / length
        torch.testing.assert_close(found, steps, rtol=1e-4, atol=0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_agree_with_heun_on_short_steps_and_one_is_exact_on_lines(solver):
    noise, schedule = gaussian(), gaussian().schedule
    time, earlier = (schedule.time_of_sigma(torch.tensor([level], dtype=torch.float64)) for level in (2.0, 1.9))
    x, first, second = (torch.tensor([[value]], dtype=torch.float64) for value in (1.0, 0.3, 0.4))
    moved = noise.reverse.step(first, x, time, earlier, x, x)
    found = noise.reverse.correct(solver, moved, second, first, time, earlier)
    slopes = (x - first) / 2.0, (moved - second) / 1.9
    torch.testing.assert_close(
        found, x + (1.9 - 2.0) * sum(slopes) / 2, rtol=0, atol=2e-4 if solver != "heun" else 1e-9
    )
    if solver == "exponential":
        # x' = x - D in ln sigma, with D a straight line from the first to the second, in many small steps.
        length, exact = math.log(1.9 / 2.0) / 20_000, x.clone()
        for k in range(20_000):
            exact += length * (exact - (first + (second - first) * (k + 0.5) / 20_000)) * (1 + length / 2)
        torch.testing.assert_close(found, exact, rtol=0, atol=1e-8)


def test_masses_of_intervals_are_right_in_the_tails():
    edges = torch.tensor([-torch.inf, -30.0, -20.0, -1.0, 0.5, 20.0, 21.0, torch.inf], dtype=torch.float64)
    mass = log_mass(edges[:-1], edges[1:])
    assert mass.exp().sum().item() == pytest.approx(1, abs=1e-14)
    assert mass[1].item() == pytest.approx(mass[5].item(), rel=1e-9) != 0
    assert torch.isfinite(mass).all()


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_the_masses_of_all_levels_sum_to_one_and_the_lowest_noise_tells_them_apart(levels):
    noise = gaussian(levels, Moments.from_sums(100.0, -40.0, 50.0))
    values = (2 * torch.arange(levels, dtype=torch.float64)[None] + 1) / levels - 1
    x0 = noise.to_state(values)
    torch.testing.assert_close(noise.from_state(x0 + 0.4 / levels), values)
    for guess in (x0[0, 0], x0[0, -1] + 0.3, torch.tensor(0.02)):
        masses = noise.log_density_of(guess.expand(1, levels).double(), x0)
        assert masses.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert noise.log_density_of(x0, x0).min().item() > -1e-3


def test_quantised_numbers_need_no_network_where_the_noise_is_smaller_than_cells():
    noise = gaussian(5, Moments.from_sums(100.0, -40.0, 50.0), real="quantised")
    values = (2 * torch.arange(5, dtype=torch.float64) + 1) / 5 - 1
    x0 = noise.to_state(values[None, :4])
    logits = torch.tensor([0.5, -2.0, 3.0, 0.0, 1.0], dtype=torch.float64).expand(1, 4, 5)
    x = noise.corrupt(x0, at(0.0), torch.tensor([[0.1, 0.9, 0.01, 0.999]], dtype=torch.float64))
    torch.testing.assert_close(noise.predict(logits, x, at(0.0)), x0, rtol=0, atol=5e-3)
    # Where nothing is left of the data, they are the likelihood of the network alone.
    mean = ((logits - noise.to_state(values) ** 2 / 2).softmax(-1) * noise.to_state(values)).sum(-1)
    torch.testing.assert_close(noise.predict(logits, x, at(1.0)), mean, rtol=0, atol=0.05)
    assert isinstance(gaussian(real="quantised"), Gaussian)


def test_quantised_numbers_come_to_unit_scale():
    values = torch.linspace(-0.9, 0.9, 50, dtype=torch.float64)
    noise = gaussian(10, Moments.from_sums(50.0, float(values.sum()), float((values**2).sum())))
    inner = noise.to_state(values[None])
    assert [inner.mean().item(), inner.std(correction=0).item()] == pytest.approx([0, 1], abs=1e-6)


def test_former_names_of_settings_are_read():
    assert isinstance(gaussian(5, real="lattice"), QuantisedGaussian)
    assert DiffusionConfig(order="surest") == DiffusionConfig(order="confidence")
    assert Sampling(order="surest") == Sampling(order="confidence")


def test_unknown_kinds_of_fields_and_names_are_refused():
    with pytest.raises(UnsupportedSpace, match="kind Field"):
        process(Field(), DiffusionConfig())
    with pytest.raises(ValueError, match="categorical must be one of absorbing, uniform, marginal"):
        process(Categorical(classes=3), DiffusionConfig(categorical="masking"))
