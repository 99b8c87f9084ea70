"""The transformer: every layout as element tokens, and the same name along the autoregressive walk."""

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from support.networks import close, cropped, relaxed
from support.slopes import require_second_slopes
from support.toys import Choices, Graph, Grid, Points, Record, Tokens

from molgen import registry
from molgen.backbone import CausalBackbone, Head, make_build
from molgen.backbones.transformer.config import TransformerConfig
from molgen.backbones.transformer.network import Transformer
from molgen.batch import Batch, Partial, mask
from molgen.errors import UnsupportedSpace
from molgen.layers.attention import rotation
from molgen.space import Axis, Categorical, Field, Real, axes

SMALL = TransformerConfig(width=24, layers=2, heads=3)
NODE = Axis("node", 5, ordered=False)
SPACES = {
    "tokens": Tokens().space,
    "grid": Grid().space,
    "graph": Graph().space,
    "record": Record().space,
    "classes": Choices().space,
    "set of numbers": {"x": Real((Axis("member", 4, minimum=0, ordered=False),), channels=(2, 3))},
    "levels": {"x": Real((Axis("row", 2, variable=False), Axis("column", 3, variable=False)), (1,), levels=4)},
    "graph with numbers": {
        "kind": Categorical((NODE,), classes=3),
        "charge": Real((NODE,)),
        "bond": Categorical((NODE, NODE), classes=3, symmetric=True),
        "total": Real(),
    },
    "directed graph": {"arc": Categorical((NODE, NODE), classes=2)},
    "two kinds of pairs": {
        "bond": Categorical((NODE, NODE), classes=2, symmetric=True),
        "distance": Real((NODE, NODE)),
    },
    "table of a set": {"x": Categorical((NODE, Axis("column", 3, variable=False)), classes=2)},
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
CONDITION = {"height": Real(), "kind of all": Categorical(classes=2)}


def a_network(space, heads=None, *, condition=None, config=SMALL, dtype=torch.float64):
    """A small network with weights far from their start, so that no part is without effect."""
    torch.manual_seed(0)
    heads = heads or {name: Head(4, field.axes) for name, field in space.items()} | {"pooled": Head(2)}
    network = make_build(Transformer, config, condition)(space, heads)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.to(dtype).eval()


def a_batch(space, sizes, *, longest=None, seed=0):
    """Random samples, `sizes` of every variable axis, with zeros in the padding."""
    torch.manual_seed(seed)
    sizes = {axis.name: torch.tensor(sizes) for axis in axes(space).values() if axis.variable}
    rows = len(next(iter(sizes.values()))) if sizes else 3
    lengths = {
        axis.name: (longest or int(sizes[axis.name].max())) if axis.variable else axis.maximum
        for axis in axes(space).values()
    }
    return Batch({name: _values(field, sizes, lengths, rows) for name, field in space.items()}, sizes)


def _values(field, sizes, lengths, rows):
    shape = [lengths[axis.name] for axis in field.axes]
    exists = mask(field, sizes, shape, rows)
    if isinstance(field, Real):
        numbers = torch.randn(rows, *shape, *field.channels, dtype=torch.float64)
        return numbers * exists.reshape(*exists.shape, *(1 for _ in field.channels))
    ids = torch.randint(field.classes, (rows, *shape))
    ids = ids.tril(-1) + ids.tril(-1).transpose(1, 2) if field.symmetric else ids
    return ids * exists


# --- all elements at once ---------------------------------------------------------------------------


@every_space
def test_every_head_has_its_shape(space):
    batch = a_batch(space, [1, 3, 2])
    outputs = a_network(space)(batch, None, None)
    for name, field in space.items():
        assert outputs[name].shape == (3, *batch.fields[name].shape[1 : 1 + len(field.axes)], 4)
    assert outputs["pooled"].shape == (3, 2)


@every_space
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-10)])
def test_padding_and_neighbours_change_nothing(space, dtype, tolerance):
    network, times = a_network(space, dtype=dtype), torch.tensor([0.1, 0.5, 0.9])
    batch = a_batch(space, [1, 3, 2], longest=max(axis.maximum for axis in [Axis("none", 1), *axes(space).values()]))
    together = network(batch, times, None)
    for row in range(3):
        alone = network(cropped(space, batch.take(torch.tensor([row]))), times[row : row + 1], None)
        for name, output in alone.items():
            padded = torch.zeros_like(together[name][row])
            padded[tuple(slice(length) for length in output.shape[1:])] = output[0]
            torch.testing.assert_close(together[name][row], padded, rtol=tolerance, atol=tolerance)


def test_a_sample_may_be_empty():
    for field in (Real((Axis("member", 4, 0, ordered=False),), channels=(2, 3)), Categorical((Axis("n", 3, 0),))):
        network, full = a_network({"x": field}), a_batch({"x": field}, [0, 2])
        alone = network(a_batch({"x": field}, [0]), None, None)
        assert alone["x"].shape == (1, 0, 4)
        torch.testing.assert_close(alone["pooled"], network(full, None, None)["pooled"][:1])


@every_space
def test_classes_may_come_as_one_hot_floats(space):
    network, batch = a_network(space), a_batch(space, [1, 3, 2])
    close(network(batch, None, None), network(relaxed(space, batch), None, None))


def moved(space, batch, order):
    """The samples of a batch of one size with the elements of unordered axes in another order."""
    fields = {}
    for name, field in space.items():
        tensor = batch.fields[name]
        for place, axis in enumerate(field.axes):
            tensor = tensor if axis.ordered else tensor.index_select(1 + place, order)
        fields[name] = tensor
    return batch.with_fields(fields)


@pytest.mark.parametrize("space", [space for space in SPACES.values() if NODE in axes(space).values()])
def test_outputs_move_with_the_elements_of_unordered_axes(space):
    network, batch = a_network(space), a_batch(space, [4, 4])
    before = network(batch, None, None)
    for order in list(permutations(range(4)))[5::6]:
        order = torch.tensor(order)
        after = network(moved(space, batch, order), None, None)
        expected = moved(space, Batch({name: before[name] for name in space}, {}), order)
        close({name: after[name] for name in space}, dict(expected.fields))
        torch.testing.assert_close(after["pooled"], before["pooled"], rtol=0, atol=1e-10)


def test_along_ordered_axes_the_place_matters():
    for space, shape in ((Tokens().space, (1, 3)), (Grid().space, (1, 2, 3))):
        (name,) = space
        batch = Batch({name: torch.zeros(shape, dtype=torch.long)}, {"length": torch.tensor([3])})
        outputs = a_network(space)(batch, None, None)[name].flatten(1, -2)[0]
        assert torch.cdist(outputs, outputs).fill_diagonal_(1).min() > 1e-3


@pytest.mark.parametrize("name", ["bond", "kind"])
def test_a_pair_has_one_output_for_both_orders(name):
    space = SPACES["graph with numbers"] if name == "kind" else SPACES["two kinds of pairs"]
    pair = Head(4, (NODE, NODE))
    outputs = a_network(space, {"bond": pair})(a_batch(space, [4, 5]), None, None)["bond"]
    torch.testing.assert_close(outputs, outputs.transpose(1, 2))
    assert outputs[:, 0, 1].abs().min() > 0
    if name == "kind":
        assert outputs.diagonal(dim1=1, dim2=2).abs().max() == 0


def test_pairs_of_a_directed_graph_have_two():
    space = SPACES["directed graph"]
    outputs = a_network(space)(a_batch(space, [4, 5]), None, None)["arc"]
    assert (outputs - outputs.transpose(1, 2)).abs().amax(-1)[:, 1, 2].min() > 1e-3


def test_a_pair_knows_its_nodes_and_a_node_its_pairs():
    space = {"kind": Categorical((NODE,), classes=2), "bond": Categorical((NODE, NODE), classes=2, symmetric=True)}
    network = a_network(space)
    kind, bond = torch.tensor([[1, 0, 0, 0]]), torch.zeros(1, 4, 4, dtype=torch.long)
    outputs = network(Batch({"kind": kind, "bond": bond}, {"node": torch.tensor([4])}), None, None)
    assert (outputs["bond"][0, 0, 1] - outputs["bond"][0, 1, 2]).abs().max() > 1e-3
    bond[0, 2, 3] = bond[0, 3, 2] = 1
    outputs = network(Batch({"kind": 0 * kind, "bond": bond}, {"node": torch.tensor([4])}), None, None)
    assert (outputs["kind"][0, 2] - outputs["kind"][0, 1]).abs().max() > 1e-3
    torch.testing.assert_close(outputs["kind"][0, 2], outputs["kind"][0, 3])


def test_graphs_with_the_same_elements_differ_by_what_is_joined():
    """A path of two bonds beside a lone node, and two nodes that share no bond: only incidence tells."""
    space = {"bond": Categorical((NODE, NODE), classes=2, symmetric=True)}
    network = a_network(space)
    bonds = torch.zeros(2, 4, 4, dtype=torch.long)
    for row, pairs in enumerate([((0, 1), (1, 2)), ((0, 1), (2, 3))]):
        for i, j in pairs:
            bonds[row, i, j] = bonds[row, j, i] = 1
    pooled = network(Batch({"bond": bonds}, {"node": torch.tensor([4, 4])}), None, None)["pooled"]
    assert (pooled[0] - pooled[1]).abs().max() > 1e-3


def test_heads_may_have_other_axes_than_the_inputs():
    """Noise to fields, fields to one vector, fields to some of their axes."""
    space = SPACES["graph with numbers"]
    word = Axis("word", 6)
    noise = {"noise": Real(channels=(7,)), "of each": Real((NODE,), channels=(2,))}
    heads = {"kind": Head(3, (NODE,)), "bond": Head(3, (NODE, NODE)), "text": Head(5, (word,)), "all": Head(1)}
    batch = a_batch(noise, [2, 5, 0])
    batch = Batch(batch.fields, {**batch.sizes, "word": torch.tensor([6, 1, 2])})
    outputs = a_network(noise, heads)(batch, None, None)
    assert {name: tuple(tensor.shape) for name, tensor in outputs.items()} == {
        "kind": (3, 5, 3),
        "bond": (3, 5, 5, 3),
        "text": (3, 6, 5),
        "all": (3, 1),
    }
    torch.testing.assert_close(outputs["bond"], outputs["bond"].transpose(1, 2))
    assert outputs["text"][1, 1:].abs().sum() == 0
    assert a_network(space, {"kind": Head(2, (NODE,))})(a_batch(space, [2, 3]), None, None)["kind"].shape == (2, 3, 2)
    with pytest.raises(ValueError, match="the sizes of the axis 'word'"):
        a_network(noise, heads)(a_batch(noise, [2]), None, None)


def test_rotary_products_depend_on_differences_of_positions():
    places = torch.tensor([[0, 0], [3, 5], [4, 5], [103, 5], [104, 5]])
    turns = rotation(places, 8, torch.zeros((), dtype=torch.float64))
    queries, keys = (turns.turn(torch.randn(8, dtype=torch.float64).expand(1, 1, 5, 8)) for _ in range(2))
    products = (queries @ keys.transpose(2, 3))[0, 0]
    torch.testing.assert_close(products[1, 2], products[3, 4])
    assert (products[1, 2] - products[2, 1]).abs() > 1e-3
    assert (products[0, 1] - products[0, 2]).abs() > 1e-3


# --- time and condition -----------------------------------------------------------------------------


@every_space
def test_time_is_of_rows_or_of_fields(space):
    network, batch = a_network(space), a_batch(space, [1, 3, 2])
    time = torch.tensor([0.0, 0.25, 1.0])
    close(network(batch, None, None), network(batch, torch.zeros(3), None))
    close(network(batch, time, None), network(batch, dict.fromkeys(space, time), None))
    before, after = network(batch, None, None)["pooled"], network(batch, time, None)["pooled"]
    assert ((before - after).abs().amax(-1) > 1e-4).tolist() == [False, True, True]


def test_each_field_has_its_own_time():
    space = Graph().space
    network, batch, time = a_network(space), a_batch(space, [3, 2]), torch.tensor([0.5, 0.5])
    outputs = [network(batch, {name: time}, None)["pooled"] for name in space]
    assert (outputs[0] - outputs[1]).abs().min() > 1e-4
    with pytest.raises(ValueError, match="weight, which the network does not read"):
        network(batch, {"weight": time}, None)


def asked(rows, height, given=True):
    batch = Batch({"height": torch.full((rows,), height), "kind of all": torch.ones(rows, dtype=torch.long)}, {})
    return Partial(batch, {name: torch.full((rows,), given) for name in CONDITION})


@every_space
def test_conditions_have_an_effect(space):
    network, batch = a_network(space, condition=CONDITION), a_batch(space, [1, 3, 2])
    none, low, high, absent = (
        network(batch, None, condition)["pooled"]
        for condition in (None, asked(3, 1.0), asked(3, 2.0), asked(3, 1.0, given=False))
    )
    torch.testing.assert_close(none, absent)
    assert (low - none).abs().min() > 1e-4
    assert (low - high).abs().min() > 1e-4


PLACED = {"colour": Categorical((NODE,), classes=3), "near": Categorical((NODE, NODE), 2, symmetric=True)}


def test_a_condition_over_axes_of_the_sample_moves_with_it():
    space, order = SPACES["graph with numbers"], torch.tensor([2, 0, 3, 1])
    network, batch = a_network(space, condition=PLACED), a_batch(space, [4, 4])
    given = a_batch(PLACED, [4, 4], seed=1)
    everywhere = {name: tensor >= 0 for name, tensor in given.fields.items()}
    before = network(batch, None, Partial(given, everywhere))["kind"]
    after = network(moved(space, batch, order), None, Partial(moved(PLACED, given, order), everywhere))["kind"]
    torch.testing.assert_close(after, before[:, order])
    assert (before - network(batch, None, None)["kind"]).abs().amax(-1).min() > 1e-4


def test_a_condition_over_axes_of_the_sample_is_read_place_by_place():
    space = SPACES["graph with numbers"]
    network, batch = a_network(space, condition=PLACED), a_batch(space, [4])
    given = a_batch(PLACED, [4], longest=5, seed=1)
    first = Partial(given, {"colour": torch.arange(5)[None] == 0})
    none = Partial(given, {"colour": torch.zeros(1, 5, dtype=torch.bool)})
    changed = (network(batch, None, first)["kind"] - network(batch, None, none)["kind"]).abs().amax(-1)[0]
    assert changed[0] > changed[1:].max() > 0


def test_a_condition_whose_axis_has_another_length_is_refused():
    with pytest.raises(UnsupportedSpace, match="at most 7 elements in the place of 5"):
        a_network({"x": Real((NODE,))}, condition={"c": Real((Axis("node", 7, ordered=False),))})


# --- gradients --------------------------------------------------------------------------------------


@every_space
@pytest.mark.parametrize("condition", [None, CONDITION], ids=["", "conditioned"])
def test_every_parameter_learns(space, condition):
    network = a_network(space, condition=condition)
    batch, time = a_batch(space, [1, 3, 2]), torch.tensor([0.1, 0.2, 0.3])
    for given in (True, False):
        outputs = network(batch, time, asked(3, 1.0, given) if condition else None)
        sum((output**2).sum() for output in outputs.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_space
def test_gradients_reach_the_inputs_twice(space):
    """As penalties on gradients need it, with the attention kernel that has second derivatives."""
    network, batch = a_network(space), relaxed(space, a_batch(space, [1, 3, 2]))
    require_second_slopes(network, batch)


def test_dropout_acts_in_training_only():
    network = a_network(Tokens().space, config=replace(SMALL, dropout=0.5))
    batch = a_batch(Tokens().space, [1, 3, 2])
    close(network(batch, None, None), network(batch, None, None))
    network.train()
    assert not torch.equal(*(network(batch, None, None)["pooled"] for _ in range(2)))


# --- what it refuses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "head"), [(Points().space, Head(1)), (Tokens().space, Head(3, rotates=True))], ids=["field", "head"]
)
def test_what_rotates_is_refused(space, head):
    with pytest.raises(UnsupportedSpace, match="not equivariant"):
        Transformer(space, {"out": head}, SMALL)
    with pytest.raises(UnsupportedSpace, match="not equivariant"):
        Transformer(Tokens().space, {"out": Head(1)}, SMALL, {"force": Real(channels=(3,), rotates=True)})


@pytest.mark.parametrize("causal", [False, True])
def test_more_elements_than_stated_are_refused(causal):
    build = make_build(Transformer, replace(SMALL, most_elements=6), None)
    build(Graph().space, {"atoms": Head(2)}, causal)
    build(Grid().space, {"pixels": Head(2)}, causal)
    build = make_build(Transformer, replace(SMALL, most_elements=5), None)
    for space in (Graph().space, Grid().space):
        with pytest.raises(UnsupportedSpace, match="has 6 elements, more than the 5"):
            build(space, {"out": Head(2)}, causal)


def test_more_ordered_axes_than_a_head_has_room_for_are_refused():
    space = {"x": Real(tuple(Axis(name, 2) for name in "abcde"))}
    with pytest.raises(UnsupportedSpace, match="positions along 5 ordered axes"):
        Transformer(space, {"out": Head(2)}, SMALL)


def test_a_field_of_an_unknown_kind_is_refused():
    class Angle(Field):
        pass

    for causal in (False, True):
        with pytest.raises(UnsupportedSpace, match="Angle"):
            make_build(Transformer, SMALL, None)({"x": Angle()}, {"out": Head(2)}, causal)


@pytest.mark.parametrize(
    "settings", [{"width": 0}, {"layers": 0}, {"heads": 0}, {"width": 25}, {"dropout": 1.0}, {"most_elements": 0}]
)
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        replace(SMALL, **settings)


def test_one_name_serves_both_ways():
    build = make_build(registry.get("backbone", "transformer"), SMALL, None)
    space = Tokens().space
    assert isinstance(build(space, {"letters": Head(4)}, causal=True), CausalBackbone)
    assert not isinstance(build(space, {"letters": Head(4)}), CausalBackbone)
