"""The autoregressive family over numbers: cut into cells, with an exact density."""

import numpy as np
import pytest
import torch
from scipy import stats
from support.orderings import a_model
from support.toys import register

from molgen.batch import Batch, Partial, collate, field_mask
from molgen.config import Part
from molgen.data.quantiles import Quantiles
from molgen.data.standardise import log_abs_det, standardise
from molgen.data.statistics import Statistics, measure
from molgen.family import Density
from molgen.model.generative_model import GenerativeModel
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real
from molgen.testing.random_samples import draw_samples

TABLE = {"kind": Categorical(classes=2), "x": Real(), "y": Real()}
SERIES = {"x": Real((Axis("instant", 6, minimum=2),), channels=(2,))}
PAIRS = {
    "atoms": Categorical((Axis("atom", 4),), classes=2),
    "distances": Real((Axis("atom", 4),) * 2, symmetric=True),
}


def fitted(space, samples, **settings):
    """A small network with weights far from zero over cells from the samples; and the samples at unit scale."""
    family = a_model(space, **settings)
    batch = collate(space, samples)
    statistics = measure(space, [batch])
    batch = standardise(space, statistics, batch)
    bits = {name: cells.bits.clone() for name, cells in family.cells.items()}
    family.initialise(batch, statistics)
    assert all(not torch.equal(cells.bits, bits[name]) for name, cells in family.cells.items())
    return family, batch, statistics


def a_table(rows, seed=0):
    random = np.random.default_rng(seed)
    kind = random.integers(0, 2, rows)
    x = np.where(kind, random.normal(3, 0.5, rows), random.exponential(1, rows))
    y = np.where(random.random(rows) < 0.4, 0.0, x**2 + 100)
    return [{"kind": k, "x": np.float32(a), "y": np.float32(b)} for k, a, b in zip(kind, x, y, strict=True)]


def test_the_density_of_numbers_integrates_to_one():
    space = {"kind": Categorical(classes=2), "x": Real()}
    samples = [{"kind": s["kind"], "x": s["x"]} for s in a_table(500)]
    family, _, _ = fitted(space, samples)
    cells = family.cells["x"]
    edges = cells.edges[0, : int(cells.counts) + 1]
    middles, widths = (edges[1:] + edges[:-1]) / 2, edges.diff()
    step = 0.01
    away = step * (torch.arange(4000) + 0.5)
    x = torch.cat([middles, edges[0] - away, edges[-1] + away])
    weights = torch.cat([widths, torch.full((len(away) * 2,), step)])
    total = 0.0
    for kind in range(2):
        density = family.log_density(Batch({"kind": torch.full((len(x),), kind), "x": x}, {}))
        assert density.kind is Density.EXACT
        total += float((density.value.exp() * weights).sum())
    assert total == pytest.approx(1, abs=1e-3)


def test_samples_follow_the_density_of_numbers():
    family, _, _ = fitted({"x": Real()}, [{"x": s["x"]} for s in a_table(500)])
    drawn = family.sample(4000, rng=Rng(0, range(4000)))
    x = drawn.batch.fields["x"]
    torch.testing.assert_close(drawn.log_density.value, family.log_density(drawn.batch).value, rtol=0, atol=1e-8)
    grid = torch.linspace(float(x.min()) - 5, float(x.max()) + 5, 40_001, dtype=torch.float64)
    density = family.log_density(Batch({"x": grid}, {})).value.exp()
    cumulative = (density * (grid[1] - grid[0])).cumsum(0).numpy()
    found = stats.kstest(x.double().numpy(), lambda value: np.interp(value, grid.numpy(), cumulative))
    assert found.pvalue > 1e-3


@pytest.mark.parametrize("space", [TABLE, SERIES, PAIRS], ids=["table", "series", "pairs"])
def test_what_is_drawn_has_the_density_that_is_said_of_it(space):
    family, batch, statistics = fitted(space, draw_samples(space, 60, seed=0))
    drawn = family.sample(50, rng=Rng(0, range(50)))
    torch.testing.assert_close(drawn.log_density.value, family.log_density(drawn.batch).value, rtol=0, atol=1e-8)
    loss = family.loss(batch, None, Rng(0, range(60))).total
    torch.testing.assert_close(-loss, family.log_density(batch).value, rtol=0, atol=1e-8)
    assert torch.isfinite(loss).all()
    assert len(log_abs_det(space, statistics, batch)) == 60
    for name, field in space.items():
        if isinstance(field, Real) and field.symmetric:
            x = drawn.batch.fields[name]
            assert torch.equal(x, x.transpose(1, 2))


def test_a_seed_gives_the_same_numbers_in_batches_of_any_size():
    family, _, _ = fitted(SERIES, draw_samples(SERIES, 60, seed=0))
    whole = family.sample(40, rng=Rng(5, range(40))).batch
    for start in range(0, 40, 8):
        part = family.sample(8, rng=Rng(5, range(start, start + 8))).batch
        length = part.fields["x"].shape[1]
        assert torch.equal(whole.sizes["instant"][start : start + 8], part.sizes["instant"])
        assert torch.equal(whole.fields["x"][start : start + 8, :length], part.fields["x"])


def test_known_numbers_are_kept_to_the_last_digit():
    family, batch, _ = fitted(SERIES, draw_samples(SERIES, 60, seed=0))
    known = batch.take(slice(0, 20))
    given = field_mask(SERIES, known, "x") & (torch.arange(known.fields["x"].shape[1]) < 2)
    drawn = family.sample(20, rng=Rng(0, range(20)), known=Partial(known, {"x": given}))
    assert torch.equal(drawn.batch.fields["x"][:, :2], known.fields["x"][:, :2])
    assert len(drawn.batch.fields["x"][:, 2:].unique()) > 20
    torch.testing.assert_close(drawn.log_density.value, family.log_density(drawn.batch).value, rtol=0, atol=1e-8)


def test_a_mixture_is_learned():
    """Two clouds; in one y follows x, in the other it is wide."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)

    def draw(rows):
        first = random.random(rows) < 0.3
        x = np.where(first, random.normal(-2, 0.3, rows), random.normal(1.5, 0.6, rows))
        y = np.where(first, random.normal(x, 0.4), random.normal(4, 1.5, rows))
        parts = (0.3, -2, 0.3, x, 0.4), (0.7, 1.5, 0.6, 4.0, 1.5)
        p = sum(w * stats.norm.pdf(x, a, b) * stats.norm.pdf(y, c, d) for w, a, b, c, d in parts)
        return {"x": torch.from_numpy(x).float(), "y": torch.from_numpy(y).float()}, torch.from_numpy(np.log(p))

    space = {"x": Real(), "y": Real()}
    data = Batch(draw(20_000)[0], {})
    statistics = measure(space, [data])
    data = standardise(space, statistics, data)
    family = a_model(space, "gru", dtype=torch.float32)
    family.initialise(data, statistics)
    optimiser = torch.optim.Adam(family.parameters(), 0.01)
    for step in range(300):
        rows = torch.from_numpy(random.integers(0, len(data), 512))
        optimiser.zero_grad()
        family.loss(data.take(rows), None, Rng(step, range(512))).total.mean().backward()
        optimiser.step()
    fields, truth = draw(8_000)
    batch = standardise(space, statistics, Batch(fields, {}))
    found = family.log_density(batch).value - log_abs_det(space, statistics, batch)
    divergence = (truth - found).mean().item()
    # Cells alone cost about 0.02 nats in two dimensions.
    assert -0.03 < divergence < 0.12


def test_a_table_with_gaps_says_which_values_are_there():
    """Absent values are 0 under a class that says so; the model never mixes the two."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    present = random.random(4000) < 0.6
    space = {"present": Categorical(classes=2), "x": Real()}
    value = np.where(present, random.normal(5, 1, 4000), 0)
    data = Batch({"present": torch.from_numpy(present).long(), "x": torch.from_numpy(value).float()}, {})
    statistics = measure(space, [data])
    data = standardise(space, statistics, data)
    family = a_model(space, dtype=torch.float32)
    family.initialise(data, statistics)
    optimiser = torch.optim.Adam(family.parameters(), 0.02)
    for step in range(100):
        optimiser.zero_grad()
        family.loss(data.take(slice(0, 1000)), None, Rng(step, range(1000))).total.mean().backward()
        optimiser.step()
    drawn = family.sample(1000, rng=Rng(0, range(1000))).batch
    (mean,), (scale,) = statistics.moments["x"].means, statistics.moments["x"].scales
    x = drawn.fields["x"] * scale + mean
    absent = drawn.fields["present"] == 0
    assert 0.33 < absent.double().mean() < 0.47
    assert (x[absent].abs() < 0.01).double().mean() > 0.98
    assert (x[~absent].abs() < 0.01).double().mean() < 0.02


def test_quantiles_travel_with_the_statistics_and_old_statistics_have_none():
    space = {"x": Real(channels=(2,)), "centre": Real((Axis("n", 3),), channels=(3,), centred=True)}
    statistics = measure(space, [collate(space, draw_samples(space, 30, seed=0))])
    assert set(statistics.quantiles) == {"x"}
    assert len(statistics.quantiles["x"].cuts) == 2
    again = Statistics.from_json(statistics.to_json())
    assert again.quantiles == statistics.quantiles
    old = {name: value for name, value in statistics.to_json().items() if name != "quantiles"}
    assert Statistics.from_json(old).quantiles == {}


def test_without_quantiles_the_cells_come_from_the_batch():
    family = a_model({"x": Real()})
    batch = Batch({"x": torch.linspace(-1, 1, 200)}, {})
    family.initialise(batch, Statistics(count=200))
    expected = Quantiles.of(batch.fields["x"].numpy()[:, None])
    assert family.cells["x"].edges[0, 0].item() == pytest.approx(expected.cuts[0][0])


@pytest.mark.parametrize("half", [False, True])
def test_a_model_of_a_table_is_saved_with_its_cells(fake_distribution, tmp_path, half):
    register(fake_distribution)
    model = GenerativeModel(Part("record"), "autoregressive", Part("recurrent", {"width": 8, "embedding": 4}))
    random = np.random.default_rng(0)
    numbers = zip(*random.integers(0, 2, (2, 200)).tolist(), random.normal(1.7, 0.1, 200).tolist(), strict=True)
    people = list(numbers)
    batch = collate(model.encoder.space, [model.encoder.encode(person) for person in people])
    model.statistics = measure(model.encoder.space, [batch])
    model.build().initialise(standardise(model.encoder.space, model.statistics, batch), model.statistics)
    model.use(model.family)
    model.save(tmp_path / "model", half=half)
    again = GenerativeModel.load(tmp_path / "model")
    heights = [drawn.item[2] for drawn in again.sample(300, seed=0)]
    assert np.mean(heights) == pytest.approx(1.7, abs=0.03)
    assert np.std(heights) == pytest.approx(0.1, abs=0.03)
    found, expected = ([s.log_density for s in one.log_density(people[:20])] for one in (again, model))
    assert found == pytest.approx(expected, abs=1e-2 if half else 1e-6)
    assert again.statistics == model.statistics
