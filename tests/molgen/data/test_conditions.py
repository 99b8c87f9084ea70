"""Conditions: standardised numbers, and classes, with gaps."""

import json

import numpy as np
import pytest
import torch

from molgen.batch import Batch, Partial
from molgen.data.conditions import Conditions, drop_at_random
from molgen.errors import UsageError
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real

CLASSED = Conditions.fit(
    {"target": np.array([0.0, 2.0, np.nan]), "weight": np.array([1.0, 2.0])}, {"target": ("12", "7", "kinase")}
)
FITTED = Conditions.fit({"weight": np.array([1.0, np.nan, 3.0]), "charge": np.array([0.0, 2.0, np.inf])})


def test_numbers_are_standardised_and_gaps_are_not_given():
    found = FITTED.encode({"weight": np.array([3.0, np.nan]), "charge": np.array([1.0, np.inf])}, 2)
    assert found.batch.fields["weight"].tolist() == [1.0, 0.0]
    assert found.batch.fields["charge"].tolist() == [0.0, 0.0]
    assert {name: mask.tolist() for name, mask in found.given.items()} == {
        "weight": [True, False],
        "charge": [True, False],
    }


def test_one_number_serves_all_rows_and_the_others_are_not_given():
    found = FITTED.encode({"weight": 1.0}, 3)
    assert found.batch.fields["weight"].tolist() == [-1.0] * 3
    assert not found.given["charge"].any()


def test_equal_numbers_have_the_scale_one():
    fitted = Conditions.fit({"x": np.full(7, 0.1)})
    assert fitted.scales == (1.0,)


def test_an_unknown_condition_is_named_with_the_known_ones():
    with pytest.raises(UsageError, match="no condition colour; it has weight, charge"):
        FITTED.encode({"colour": 1.0}, 1)


def test_a_model_without_conditions_takes_none():
    assert Conditions().encode({}, 3) is None
    with pytest.raises(UsageError, match="it has none"):
        Conditions().encode({"weight": 1.0}, 1)


def test_a_column_without_a_number_is_refused():
    with pytest.raises(UsageError, match="'x' has no number"):
        Conditions.fit({"x": np.array([np.nan, np.inf])})


@pytest.mark.parametrize("fitted", [FITTED, CLASSED, Conditions()])
def test_conditions_survive_json(fitted):
    assert Conditions.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_conditions_of_earlier_versions_have_no_classes():
    written = FITTED.to_json()
    del written["classes"]
    assert Conditions.from_json(written) == FITTED


# --- classes --------------------------------------------------------------------------------------


def test_a_condition_of_classes_is_a_categorical_field():
    assert CLASSED.space == {"target": Categorical(classes=3), "weight": Real()}


def test_classes_are_asked_for_by_name():
    asked = CLASSED.numbers({"target": ["7", "kinase"], "weight": "1.5"})
    found = CLASSED.encode(asked, 2)
    assert found.batch.fields["target"].tolist() == [1, 2]
    assert found.batch.fields["weight"].tolist() == [0.0, 0.0]
    assert found.given["target"].all()


@pytest.mark.parametrize("value", [7, 7.0, "7"])
def test_a_class_that_is_written_as_a_number_may_be_one(value):
    assert CLASSED.numbers({"target": value})["target"] == 1


def test_an_unknown_class_is_no_condition_in_training_and_an_error_in_a_request():
    found = CLASSED.encode({"target": np.array([2.0, np.nan])}, 2)
    assert found.given["target"].tolist() == [True, False]
    with pytest.raises(UsageError, match="condition target has no class 'protease'; it has 12, 7, kinase"):
        CLASSED.numbers({"target": "protease"})
    with pytest.raises(UsageError, match="condition weight takes a number, not 'heavy'"):
        CLASSED.numbers({"weight": "heavy"})


def test_dropping_hides_each_condition_by_itself_and_gives_nothing_new():
    rows = 4000
    condition = FITTED.encode({"weight": np.where(np.arange(rows) % 2, 1.0, np.nan), "charge": 1.0}, rows)
    dropped = drop_at_random(condition, 0.25, Rng(0, range(rows)), step=3)
    assert dropped.given["charge"].double().mean().item() == pytest.approx(0.75, abs=0.03)
    assert not (dropped.given["weight"] & ~condition.given["weight"]).any()
    kept = dropped.given["weight"][1::2], dropped.given["charge"][1::2]
    assert (kept[0] & kept[1]).double().mean().item() == pytest.approx(0.75**2, abs=0.04)


def test_dropping_nothing_changes_nothing():
    condition = FITTED.encode({"weight": 1.0}, 2)
    assert drop_at_random(condition, 0, Rng(0, range(2)), 0) is condition
    assert drop_at_random(None, 0.5, Rng(0, range(2)), 0) is None


EMBEDDED = {
    "number": Real(),
    "vector": Real(channels=(3,)),
    "kind": Categorical(classes=3),
    "atoms": Categorical((Axis("n", 4),), classes=3),
    "places": Real((Axis("n", 4),), channels=(3,)),
}


def an_embedding():
    torch.manual_seed(0)
    embedding = ConditionEmbedding(EMBEDDED, 8)
    with torch.no_grad():
        for parameter in embedding.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return embedding


def a_condition(length, given=True):
    torch.manual_seed(1)
    sizes = {"n": torch.tensor([2, 1])}
    fields = {
        "number": torch.randn(2),
        "vector": torch.randn(2, 3),
        "kind": torch.tensor([1, 2]),
        "atoms": torch.nn.functional.pad(torch.tensor([[1, 2], [2, 0]]), (0, length - 2)),
        "places": torch.nn.functional.pad(torch.randn(2, 2, 3), (0, 0, 0, length - 2)),
    }
    masks = {name: torch.full((2, length) if EMBEDDED[name].axes else (2,), given) for name in fields}
    return Partial(Batch(fields, sizes), masks)


def test_an_embedded_condition_does_not_see_padding():
    embedding = an_embedding()
    torch.testing.assert_close(embedding(a_condition(2), 2), embedding(a_condition(4), 2))


def test_nothing_given_is_no_condition():
    embedding = an_embedding()
    torch.testing.assert_close(embedding(a_condition(2, given=False), 2), embedding(None, 2))
    assert not torch.allclose(embedding(a_condition(2), 2), embedding(None, 2))


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_field_of_a_condition_matters(name):
    embedding, condition = an_embedding(), a_condition(2)
    others = {other: mask for other, mask in condition.given.items() if other != name}
    assert not torch.allclose(embedding(condition, 2), embedding(Partial(condition.batch, others), 2))


@pytest.mark.parametrize("value", ["nan", float("nan"), "inf", -np.inf, np.array([1.0, np.inf])])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(UsageError, match="weight takes a finite number"):
        FITTED.numbers({"weight": value})
    assert np.isnan(FITTED.numbers({"weight": np.array([1.0, np.nan])})["weight"][1])


def test_a_number_beyond_the_training_data_is_said_to_be():
    assert FITTED.ranges == {"weight": (1.0, 3.0), "charge": (0.0, 2.0)}
    assert FITTED.outside({"weight": 2, "charge": "2"}) == []
    assert FITTED.outside({"weight": "7"}) == [
        "the condition weight=7 is outside of what the model was trained on, 1 to 3"
    ]
    assert CLASSED.outside({"target": "kinase", "weight": 1.5}) == []


def test_values_are_drawn_as_the_training_data_have_them():
    values = np.repeat([1.0, 4.0, np.nan], [700, 300, 50])
    classes = np.repeat([0.0, 1.0, 2.0], [100, 900, 50])
    fitted = Conditions.from_json(
        json.loads(json.dumps(Conditions.fit({"x": values, "kind": classes}, {"kind": ("a", "b", "c")}).to_json()))
    )
    drawn = fitted.drawn(["x", "kind"], Rng(0, range(4000)))
    assert set(drawn["x"]) == {1.0, 4.0}
    assert (drawn["x"] == 1.0).mean() == pytest.approx(0.7, abs=0.02)
    assert (drawn["kind"] == "b").mean() == pytest.approx(900 / 1050, abs=0.02)
    again = fitted.drawn(["x"], Rng(0, range(4000)).take(slice(7, 9)))
    assert again["x"].tolist() == drawn["x"][7:9].tolist()


def test_a_model_of_an_earlier_version_says_that_it_knows_no_distribution():
    with pytest.raises(UsageError, match="take the values from the rows"):
        Conditions(("x",), (0.0,), (1.0,)).drawn(["x"], Rng(0, range(2)))
