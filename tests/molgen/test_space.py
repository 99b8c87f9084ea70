"""What a sample is made of: axes, fields, layouts and the autoregressive order."""

import pytest
from support.toys import Choices, Graph, Grid, Points, Record, Tokens

from molgen.space import Axis, Categorical, Layout, Real, Slice, axes, is_pairwise, layout, order, variable_axes

N = Axis("n", 4)
ROW, COLUMN = Axis("row", 2, variable=False), Axis("column", 2, variable=False)


@pytest.mark.parametrize(
    ("toy", "arrangement"),
    [
        (Tokens, Layout.SEQUENCE),
        (Grid, Layout.GRID),
        (Graph, Layout.GRAPH),
        (Points, Layout.POINTS),
        (Record, Layout.RECORD),
        (Choices, Layout.RECORD),
    ],
)
def test_each_toy_has_the_layout_of_its_fields(toy, arrangement):
    assert layout(toy().space) is arrangement


def test_unordered_elements_are_a_set():
    assert layout({"x": Categorical((Axis("n", 4, ordered=False),))}) is Layout.SET


@pytest.mark.parametrize(("minimum", "maximum"), [(-1, 3), (4, 3), (0, 0)])
def test_an_axis_without_possible_sizes_is_refused(minimum, maximum):
    with pytest.raises(ValueError, match="axis 'n'"):
        Axis("n", maximum, minimum=minimum)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (lambda: Real(centred=True), "exactly one axis"),
        (lambda: Real((N,), rotates=True), "channel dimension"),
        (lambda: Real((N,), levels=4, centred=True), "neither centred nor rotating"),
        (lambda: Categorical((N,), classes=0), "at least one class"),
        (lambda: Categorical((N, Axis("m", 4)), symmetric=True), "same axis twice"),
        (lambda: Real((N, Axis("m", 4)), symmetric=True), "same axis twice"),
        (lambda: Real((N,), symmetric=True), "same axis twice"),
    ],
)
def test_a_contradictory_field_is_refused(field, message):
    with pytest.raises(ValueError, match=message):
        field()


def test_two_descriptions_of_one_axis_are_refused():
    with pytest.raises(ValueError, match="'b' describes the axis 'n' differently"):
        axes({"a": Categorical((N,)), "b": Categorical((Axis("n", 5),))})


def test_only_variable_axes_have_sizes():
    assert list(variable_axes({"x": Categorical((N, ROW))})) == ["n"]


def test_pairs_are_over_one_axis():
    assert is_pairwise(Categorical((N, N)))
    assert not is_pairwise(Categorical((ROW, COLUMN)))


def test_the_order_begins_with_what_has_no_axis():
    assert order({"x": Categorical((N,)), "label": Categorical()}, {"n": 1}) == [
        Slice("label", ()),
        Slice("x", (0,), "n"),
    ]


def test_the_order_asks_once_per_index_whether_the_axis_ends():
    found = order(Graph().space, {"atom": 3})
    assert found == [
        Slice("atoms", (0,), "atom"),
        Slice("atoms", (1,), "atom"),
        Slice("bonds", (1, 0)),
        Slice("atoms", (2,), "atom"),
        Slice("bonds", (2, 0)),
        Slice("bonds", (2, 1)),
    ]


def test_a_fixed_grid_is_read_row_by_row():
    found = order({"x": Categorical((ROW, COLUMN))}, {"row": 2, "column": 2})
    assert [step.index for step in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert not any(step.ends for step in found)


def test_numbers_of_pairs_are_decided_as_bonds_are():
    found = order({"atoms": Categorical((N,)), "distances": Real((N, N), symmetric=True)}, {"n": 3})
    assert [step.index for step in found if step.field == "distances"] == [(1, 0), (2, 0), (2, 1)]


def test_directed_pairs_grow_with_both_ends():
    found = order({"x": Categorical((N, N))}, {"n": 2})
    assert [step.index for step in found] == [(0, 0), (1, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize(
    "space",
    [
        {"x": Categorical((ROW, N))},
        {"x": Categorical((ROW, N)), "y": Categorical((N,))},
        {"x": Categorical((N, N), symmetric=True)},
        {"x": Real((N, N), symmetric=True)},
    ],
)
def test_a_size_that_no_step_could_decide_is_refused(space):
    with pytest.raises(ValueError, match="the variable axis 'n'"):
        order(space, {"row": 2, "n": 2})
