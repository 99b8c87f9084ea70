from collections import Counter

import pytest
import torch

from molgen.batch import Batch, Partial
from molgen.data.statistics import Statistics
from molgen.families.parts import sizes as sizes_module
from molgen.families.parts.sizes import MOST, SizeModel
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real

ONE = {"letters": Categorical((Axis("length", 4),), classes=2)}
TWO = {
    "letters": Categorical((Axis("length", 3, minimum=0),), classes=2),
    "words": Real((Axis("width", 5), Axis("height", 2, variable=False))),
}
CONDITION = {"weight": Real()}


def all_sizes(space):
    model = SizeModel(space)
    return {name: model._first(name) for name in model.axes}


def asked(values):
    weight = torch.tensor(values, dtype=torch.float32)
    return Partial(Batch({"weight": weight}, {}), {"weight": torch.ones(len(values), dtype=torch.bool)})


def tilted(space):
    torch.manual_seed(0)
    model = SizeModel(space, CONDITION)
    for layer in model.tilt.values():
        torch.nn.init.normal_(layer.weight)
    return model


@pytest.mark.parametrize("space", [ONE, TWO])
@pytest.mark.parametrize("make", [SizeModel, tilted])
def test_the_probabilities_of_all_sizes_sum_to_one(space, make):
    model = make(space)
    sizes = all_sizes(space)
    rows = len(next(iter(sizes.values())))
    condition = asked([0.7] * rows) if make is tilted else None
    assert model.log_probability(sizes, condition).exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_sizes_are_as_frequent_as_in_the_data_and_none_is_impossible():
    model = SizeModel(ONE)
    model.initialise(Statistics(count=7, sizes=Counter({(1,): 5, (3,): 2})))
    p = model.log_probability({"length": torch.tensor([1, 2, 3, 4])}).exp()
    assert p.tolist() == pytest.approx([(5 + 0.25) / 8, 0.25 / 8, (2 + 0.25) / 8, 0.25 / 8], rel=1e-5)


def test_axes_that_go_together_in_the_data_go_together_in_the_model():
    model = SizeModel(TWO)
    model.initialise(Statistics(count=1000, sizes=Counter({(0, 5): 500, (3, 1): 500})))
    drawn = model.sample(200, None, Rng(0, range(200)))
    pairs = Counter(zip(drawn["length"].tolist(), drawn["width"].tolist(), strict=True))
    assert pairs[(0, 5)] + pairs[(3, 1)] >= 198
    assert 70 < pairs[(0, 5)] < 130


def test_a_size_outside_its_axis_has_probability_zero():
    assert SizeModel(ONE).log_probability({"length": torch.tensor([0, 5])}).tolist() == [-torch.inf] * 2


def test_frequencies_of_draws_are_the_probabilities():
    model = tilted(ONE)
    model.initialise(Statistics(count=10, sizes=Counter({(1,): 4, (2,): 3, (4,): 3})))
    count = 4000
    drawn = model.sample(count, asked([0.5] * count), Rng(1, range(count)))["length"]
    p = model.log_probability({"length": torch.arange(1, 5)}, asked([0.5] * 4)).exp()
    error = (p * (1 - p) / count).sqrt()
    seen = torch.bincount(drawn, minlength=5)[1:] / count
    assert ((seen - p).abs() < 4 * error + 1e-9).all()


def test_the_condition_decides_and_is_learned():
    torch.manual_seed(0)
    model = SizeModel(ONE, CONDITION)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    condition, sizes = asked([-1.0, 1.0]), {"length": torch.tensor([1, 4])}
    for _ in range(100):
        optimiser.zero_grad()
        (-model.log_probability(sizes, condition).sum()).backward()
        optimiser.step()
    assert (model.log_probability(sizes, condition).exp() > 0.9).all()


def test_fixed_sizes_and_lower_bounds_are_kept():
    model = SizeModel(TWO)
    drawn = model.sample(
        50, None, Rng(0, range(50)), fixed={"length": torch.full((50,), 2)}, least={"width": torch.full((50,), 3)}
    )
    assert drawn["length"].eq(2).all()
    assert drawn["width"].ge(3).all()
    with pytest.raises(ValueError, match="width from 1 to 5"):
        model.sample(1, None, Rng(0, [0]), fixed={"width": torch.tensor([6])})
    with pytest.raises(ValueError, match="no axis 'height'"):
        model.sample(1, None, Rng(0, [0]), fixed={"height": torch.tensor([2])})


def test_without_variable_axes_there_is_one_size():
    model = SizeModel({"height": Real()}, CONDITION)
    assert model.sample(3, None, Rng(0, range(3))) == {}
    assert model.log_probability({}).item() == 0
    assert not list(model.parameters())


def test_the_frequencies_travel_with_the_weights():
    model = SizeModel(ONE)
    model.initialise(Statistics(count=3, sizes=Counter({(2,): 3})))
    other = SizeModel(ONE)
    other.load_state_dict({name: tensor.half() for name, tensor in model.state_dict().items()})
    sizes = all_sizes(ONE)
    assert torch.allclose(other.log_probability(sizes), model.log_probability(sizes), atol=1e-2)


LONG = {"sound": Real((Axis("instant", 300, minimum=7),))}
WIDE = {"x": Real((Axis("a", 30, minimum=0),)), "y": Real((Axis("b", 15),))}


@pytest.fixture
def a_small_table(monkeypatch):
    monkeypatch.setattr(sizes_module, "MOST", 64)


@pytest.mark.parametrize("make", [SizeModel, tilted])
@pytest.mark.parametrize("space", [LONG, WIDE], ids=["long", "wide"])
def test_more_sizes_than_a_table_holds_share_bins_and_their_probabilities_sum_to_one(space, make, a_small_table):
    model = make(space)
    assert len(model.logits) <= 64
    counts = Counter({tuple(axis.maximum for axis in model.axes.values()): 3, tuple(13 for _ in model.axes): 6})
    model.initialise(Statistics(count=9, sizes=counts))
    grids = torch.meshgrid(*(torch.arange(a.minimum, a.maximum + 1) for a in model.axes.values()), indexing="ij")
    sizes = {name: grid.flatten() for name, grid in zip(model.axes, grids, strict=True)}
    condition = asked([0.7] * grids[0].numel()) if make is tilted else None
    with torch.no_grad():
        assert model.log_probability(sizes, condition).exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_draws_from_bins_are_as_frequent_as_their_sizes(a_small_table):
    model = SizeModel({"x": Real((Axis("n", 129),))})
    model.initialise(Statistics(count=100, sizes=Counter({(5,): 60, (129,): 40})))
    drawn = model.sample(4000, None, Rng(0, range(4000)))["n"]
    # Bins are of 4: one holds 5 to 8, the last one a single size.
    inside = (drawn >= 5) & (drawn <= 8)
    assert 0.55 < inside.double().mean() < 0.64
    assert all(440 < int((drawn == size).sum()) < 760 for size in range(5, 9))
    assert 0.36 < (drawn == 129).double().mean() < 0.44
    p = model.log_probability({"n": torch.tensor([5, 8, 129])}).exp()
    assert p.tolist() == pytest.approx([0.15, 0.15, 0.4], abs=0.01)


def test_asked_sizes_and_bounds_hold_inside_bins():
    model, rows = SizeModel({"sound": Real((Axis("instant", 65_536, minimum=100),))}), 4
    assert len(model.logits) <= MOST
    exact = torch.arange(5000, 5004)
    assert torch.equal(model.sample(rows, None, Rng(0, range(rows)), fixed={"instant": exact})["instant"], exact)
    least = torch.full((rows,), 65_534)
    drawn = model.sample(rows, None, Rng(0, range(rows)), least={"instant": least})["instant"]
    assert set(drawn.tolist()) <= {65_534, 65_535, 65_536}
    likeliest = model.sample(1, None, None, least={"instant": torch.tensor([65_536])})
    assert likeliest["instant"].tolist() == [65_536]


def test_an_axis_that_the_condition_shares_has_the_size_that_it_has_there():
    axis = Axis("length", 4)
    model = SizeModel(ONE, {"low": Real((axis,)), "weight": Real()})
    torch.nn.init.normal_(model.tilt["length"].weight)
    model.initialise(Statistics(count=10, sizes=Counter({(1,): 4, (2,): 3, (4,): 3})))
    sizes = torch.tensor([2, 4, 3, 1])
    given = torch.arange(4) < sizes[:, None]
    given[3] = False  # nothing is known of the last row
    batch = Batch({"low": torch.zeros(4, 4), "weight": torch.zeros(4)}, {"length": sizes})
    condition = Partial(batch, {"low": given, "weight": torch.ones(4, dtype=torch.bool)})
    drawn = [model.sample(4, condition, Rng(seed, range(4)))["length"].tolist() for seed in range(20)]
    assert all(row[:3] == [2, 4, 3] for row in drawn)
    assert len({row[3] for row in drawn}) > 1
    found = model.log_probability({"length": torch.tensor([2, 3, 3, 1])}, condition)
    assert found[:3].tolist() == [0, -torch.inf, 0]
    free = model.log_probability({"length": torch.tensor([1])}, Partial(batch.take(slice(3, 4)), {}))
    assert -torch.inf < found[3] < 0
    assert free.item() < 0
    with pytest.raises(ValueError, match="as its condition has it"):
        model.sample(4, condition, Rng(0, range(4)), fixed={"length": torch.tensor([3, 4, 3, 1])})
