"""Numbers as tokens: cells of equal mass whose density is exact."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from molgen.data.quantiles import Quantiles, ValueSample
from molgen.errors import UnsupportedSpace
from molgen.families.parts.cells import Cells
from molgen.space import Axis, Real

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=6_000)
DATA = {
    "normal": NORMAL,
    "heavy tails": RANDOM.standard_t(2, size=6_000),
    "mostly zero": np.where(RANDOM.random(6_000) < 0.7, 0.0, np.abs(NORMAL)),
    "whole numbers": RANDOM.poisson(3, size=5_000).astype(float),
    "rounded": np.round(NORMAL, 2),
    "two values": RANDOM.integers(0, 2, size=1_000).astype(float),
    "one value": np.full(100, 1.5),
    "few": np.array([0.3, -1.0, 2.0]),
    "one": np.array([-0.7]),
    "nearly equal": 1 + 1e-7 * RANDOM.random(1_000),
    "very large": 1e6 + NORMAL,
}

every_kind = pytest.mark.parametrize("data", DATA.values(), ids=DATA.keys())


def cells_of(data, bins=64, channels=()):
    made = Cells("x", Real(channels=channels), bins)
    made.cut(Quantiles.of(np.asarray(data).reshape(len(data), -1).astype(np.float32)))
    return made


def masses(cells):
    """The share of the data in each cell would be given by a network; here all cells in use are equally likely."""
    return (cells.used.double() / cells.counts[:, None])[0]


def density(cells, x):
    x = torch.as_tensor(x, dtype=torch.float64)[:, None]
    p = masses(cells)[cells.number(x)]
    return (p.log() + cells.log_density(x)).exp().squeeze(1)


@every_kind
@pytest.mark.parametrize("bins", [1, 5, 64])
def test_cells_have_width_and_their_density_integrates_to_one(data, bins):
    cells = cells_of(data, bins)
    count = int(cells.counts)
    edges = cells.edges[0, : count + 1].numpy()
    assert 1 <= count <= bins
    assert (np.diff(edges) > 0).all()
    # Constant inside a cell; the two tails are integrated on a grid of their own.
    centres = (edges[1:] + edges[:-1]) / 2
    inside = float((density(cells, centres) * torch.from_numpy(np.diff(edges))).sum())
    step = max(1.0, float(np.diff(edges).max())) / 200
    away = step * (np.arange(6_000) + 0.5)
    tails = sum(float(density(cells, edge).sum()) * step for edge in (edges[0] - away, edges[-1] + away))
    assert inside + tails == pytest.approx(1, abs=1e-4)
    assert (density(cells, [-1e4, 1e4]) >= 0).all()
    assert torch.isfinite(cells.log_density(torch.tensor([[-1e4], [1e4]]))).all()


@every_kind
def test_numbers_come_from_their_cells(data):
    cells = cells_of(data)
    tokens = torch.arange(int(cells.counts)).repeat(50)[:, None]
    values = (2 * tokens + 1) / cells.bins - 1
    uniform = torch.from_numpy(np.random.default_rng(1).random((len(tokens), 1)))
    drawn = cells.from_tokens(values, uniform)
    assert drawn.dtype == torch.float32
    assert torch.equal(cells.number(drawn), tokens)
    assert torch.equal(cells.number(cells.from_tokens(values, torch.full_like(uniform, 1e-9))), tokens)
    assert torch.equal(cells.number(cells.from_tokens(values, torch.full_like(uniform, 1 - 1e-9))), tokens)


def test_numbers_follow_the_density_in_the_tails_too():
    cells = cells_of(NORMAL[:300], bins=4)
    uniform = torch.from_numpy(np.random.default_rng(2).random((40_000, 1)))
    tokens = torch.arange(4).repeat(10_000)[:, None]
    drawn = cells.from_tokens((2 * tokens + 1) / 4 - 1, uniform).squeeze(1).double().numpy()
    grid = np.linspace(-12, 12, 200_001)
    cumulative = np.cumsum(density(cells, grid).numpy()) * (grid[1] - grid[0])
    found = stats.kstest(drawn, lambda x: np.interp(x, grid, cumulative))
    assert found.statistic < 0.01


@pytest.mark.parametrize("kind", [kind for kind in DATA if kind not in ("nearly equal", "very large")])
def test_cells_hold_about_equal_shares_of_the_data(kind):
    data = DATA[kind]
    cells = cells_of(data)
    shares = np.bincount(cells.number(torch.from_numpy(data.astype(np.float32))[:, None]).flatten(), minlength=64)
    shares = shares[: int(cells.counts)] / len(data)
    _, counts = np.unique(data.astype(np.float32), return_counts=True)
    tied = counts.max() / len(data) if len(data) > 1 else 1
    assert shares.max() <= max(tied, 1 / len(data), 1 / 50) + 0.01


def test_a_value_that_many_share_has_a_narrow_cell_of_its_own():
    cells = cells_of(DATA["mostly zero"])
    number = cells.number(torch.tensor([[0.0], [0.01], [-0.01]])).flatten().tolist()
    left, right = cells.edges[0, number[0]].item(), cells.edges[0, number[0] + 1].item()
    assert left < 0 < right
    assert right - left < 1e-3
    assert number[1] > number[0]
    assert int(cells.counts) > 10


def test_whole_numbers_have_a_cell_each():
    cells = cells_of(DATA["whole numbers"])
    number = cells.number(torch.arange(8.0)[:, None]).flatten()
    assert len(set(number.tolist())) == 8
    edges = cells.edges[0]
    torch.testing.assert_close(edges[number[1:7]], torch.arange(1, 7).double() - 0.5, atol=1e-4, rtol=0)


def test_what_lies_beyond_the_data_is_as_likely_as_one_more_value():
    few, many = cells_of(NORMAL[:100]), cells_of(NORMAL)
    for cells, count in ((few, 100), (many, len(NORMAL))):
        for side in range(2):
            mass = 1 / 464  # of the outermost cell
            assert cells.beyond[0, side] == pytest.approx(min(0.25, 1 / (1 + count * mass)), rel=0.3)


def test_channels_have_cells_of_their_own_and_come_back_as_they_were_packed():
    both = np.stack([NORMAL[:5000], DATA["whole numbers"]], 1)
    cells = cells_of(both, channels=(2,))
    values = torch.from_numpy(both[:6].astype(np.float32)).reshape(3, 4)
    number = cells.number(values)
    for channel in range(2):
        alone = cells_of(both[:, channel])
        assert torch.equal(number[:, channel::2], alone.number(values[:, channel::2].reshape(-1, 1)).view(3, 2))
        torch.testing.assert_close(
            cells.log_density(values)[:, channel::2],
            alone.log_density(values[:, channel::2].reshape(-1, 1)).view(3, 2),
        )


def test_cells_survive_weights_of_half_the_digits():
    cells = cells_of(DATA["very large"])
    other = Cells("x", Real(), 64)
    other.load_state_dict({k: t.half().float() if t.is_floating_point() else t for k, t in cells.state_dict().items()})
    assert torch.equal(other.edges, cells.edges)
    assert torch.equal(other.counts, cells.counts)


@pytest.mark.parametrize("field", [Real((Axis("n", 3),), centred=True), Real(channels=(3,), rotates=True)])
def test_numbers_that_are_not_free_one_by_one_are_refused(field):
    with pytest.raises(UnsupportedSpace, match="'x' rotate or have a common centre"):
        Cells("x", field, 8)


def test_a_sample_of_the_values_does_not_depend_on_the_batches():
    values = NORMAL.reshape(-1, 2)
    whole, parts = ValueSample(2), ValueSample(2)
    whole.add(values)
    for part in np.array_split(values, 7):
        parts.add(part)
    assert whole.quantiles() == parts.quantiles()
    found = whole.quantiles()
    assert found.count == len(values)
    assert found.cuts[0][256] == pytest.approx(np.median(values[:, 0]), abs=0.03)
    assert found == Quantiles.from_json(found.to_json())


def test_the_sample_is_bounded_and_drawn_from_all_values(monkeypatch):
    monkeypatch.setattr("molgen.data.quantiles.FEWEST_VALUES", 1000)
    monkeypatch.setattr("molgen.data.quantiles.MOST_NUMBERS", 1000)
    sample = ValueSample(1)
    for start in range(0, 100_000, 10_000):
        sample.add(np.arange(start, start + 10_000.0)[:, None])
        assert sample._held <= 12_000
    found = sample.quantiles()
    assert found.count == 100_000
    assert sample._held == 1000
    assert np.abs(np.array(found.cuts[0]) / 100_000 - np.linspace(0, 1, 513)).max() < 0.06
    assert math.isclose(found.cuts[0][0], 0, abs_tol=1500)
