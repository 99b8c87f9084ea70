"""Evaluations of toy domains: one pass, cached summaries, and failures that stay alone."""

from __future__ import annotations

import math
import random
import re

import pytest
from support.evaluations import REFERENCE, ROWS, by_label, item_set, values
from support.measures import Lengths, Words
from support.toys import TOYS

from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.evaluation import features as examining
from molgen.evaluation.evaluate import Evaluation, chosen
from molgen.metric import Better


def test_a_suite_by_hand(evaluation):
    found = evaluation().evaluate(ROWS)
    assert values(found) == {"Valid": 4 / 6, "Unique": 3 / 4, "Novel": 2 / 3, "Length/Birds": 3.5 - 4 + 1}
    distance = by_label(found)["Length/Birds"]
    assert (distance.metric, distance.reference, distance.better) == ("length_distance", "Birds", Better.LOWER)
    assert not any(figure.error for figure in found)
    assert all(figure.seconds > 0 for figure in found)


def test_each_reference_has_its_figure(evaluation):
    references = [item_set("Birds", REFERENCE), item_set("Long", ["elephants"])]
    found = values(evaluation("length_distance", "between_lengths", references=references).evaluate(ROWS))
    assert found == {
        "length_distance/Birds": 0.5,
        "length_distance/Long": 5.5,
        "between_lengths/Birds": 0.5,
        "between_lengths/Long": 5.5,
    }


def test_few_rows_give_a_warning(evaluation):
    found = by_label(evaluation("length_distance", "validity").evaluate(["cat"]))
    assert found["length_distance/Birds"].warning == "1 rows; the protocol asks for 5"
    assert not found["validity"].warning
    assert not by_label(evaluation("length_distance").evaluate(ROWS))["length_distance/Birds"].warning
    (strict,) = evaluation("strict").evaluate(ROWS)
    assert strict.warning == "6 rows; the protocol asks for 1,000"
    assert strict.settings == {"enough": 1000}


@pytest.mark.parametrize("rows", [[], [Invalid("no")], ["7", "8"]])
def test_no_valid_row_is_undefined_and_no_failure(rows, evaluation):
    found = by_label(evaluation("plain", "mean_length", "embedded").evaluate(rows))
    assert not any(figure.error for figure in found.values())
    undefined = {label for label, figure in found.items() if math.isnan(figure.estimate.value)}
    assert undefined >= {"Unique", "Novel", "Length/Birds", "mean_length", "embedded"}
    assert all(found[label].estimate.note for label in undefined)


def test_order_does_not_matter(evaluation):
    shuffled = random.Random(2).sample(ROWS, len(ROWS))
    assert values(evaluation().evaluate(shuffled)) == values(evaluation().evaluate(ROWS))


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_size_of_portions_changes_nothing(rows, evaluation, monkeypatch):
    names = ("plain", "mean_length", "embedded")
    whole = [figure.estimate for figure in evaluation(*names).evaluate(ROWS)]
    monkeypatch.setattr(examining, "ROWS", rows)
    assert [figure.estimate for figure in evaluation(*names).evaluate(ROWS)] == whole


def test_the_seed_decides_the_interval(evaluation):
    rows = ["cat", "horse", "ox"] * 100
    first, same, other = (evaluation("mean_length", seed=seed).evaluate(rows)[0].estimate for seed in (0, 0, 1))
    assert first == same
    assert first.value == other.value
    assert first.low != other.low


@pytest.mark.parametrize("toy", TOYS)
def test_any_domain(toy, tmp_path):
    """No features, no suites: validity, uniqueness and novelty by the domain's own equality."""
    items = toy().examples()
    made = Evaluation(toy(), chosen(toy()), training=item_set("learned", items[:1]), cache=tmp_path)
    found = values(made.evaluate([*items, items[0], Invalid("no")]))
    count = len(items)
    assert found == {
        "validity": (count + 1) / (count + 2),
        "uniqueness": count / (count + 1),
        "novelty": (count - 1) / count,
    }


def test_observers_see_every_portion(evaluation, monkeypatch):
    monkeypatch.setattr(examining, "ROWS", 4)
    seen = []
    evaluation("validity").evaluate(ROWS, [seen.append], ["length", "letters", "initial"])
    assert [len(chunk.valid) for chunk in seen] == [4, 2]
    assert [chunk.first for chunk in seen] == [0, 4]
    assert seen[0].items == ["cat", "cat", "house"]
    assert seen[0].raw == ["cat", "Cat", "house"]
    assert seen[0].features["length"].tolist() == [3, 3, 5]
    assert seen[0].features["letters"].shape == (3, 3)
    assert seen[0].features["initial"] == ["c", "c", "h"]


def test_without_sets_the_rest_is_computed(evaluation):
    found = by_label(evaluation("plain", "between_lengths", references=(), training=None).evaluate(ROWS))
    assert found["Valid"].estimate.value == 4 / 6
    assert found["Novel"].estimate.note == "there is no training set to compare with"
    assert found["Length"].estimate.note == "there is no reference set to compare with"
    assert found["between_lengths"].estimate.note == "there is no reference set to compare with"
    assert not any(figure.error for figure in found.values())
    assert not Lengths.made


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fails_to_start", r"ValueError: cannot start \(measures.py:\d+\)"),
        ("fails_to_add", r"ValueError: cannot add \(measures.py:\d+\)"),
        ("fails_to_estimate", r"ZeroDivisionError: cannot estimate \(measures.py:\d+\)"),
        ("gives_number", r"metric gives_number: it gave float, not an Estimate"),
        ("absent", "absent: ModuleNotFoundError: No module named 'no_such_module'"),
        ("overloaded", "broken: MemoryError: no room"),
        ("foreign", "the domain Words has no feature 'colour'; known: absent, broken"),
        ("fails_to_summarise/Birds", r"Birds could not be summarised: ValueError: cannot summarise"),
        ("absent_in_summary/Birds", "Birds could not be summarised: absent: ModuleNotFoundError"),
    ],
)
def test_a_failure_stays_alone(name, words, evaluation):
    found = by_label(evaluation(name.partition("/")[0], "plain", "embedded").evaluate(ROWS))
    assert math.isnan(found[name].estimate.value)
    assert re.match(words, found[name].error)
    assert "\n" not in found[name].error
    assert found[name].estimate.note == found[name].error
    others = [figure for label, figure in found.items() if label != name]
    assert len(others) == 5
    assert not any(figure.error or math.isnan(figure.estimate.value) for figure in others)


def test_a_metric_of_a_suite_that_cannot_be_imported(evaluation):
    wanted = {"Gone/{}": ("not_there", {}), "Valid": ("validity", {})}
    gone, valid = evaluation("validity", wanted=wanted).evaluate(ROWS)
    assert gone.label == "Gone/Birds"
    assert "cannot be imported" in gone.error
    assert valid.estimate.value == 4 / 6


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["vality"], "no metric and no suite of metrics is named 'vality'; did you mean 'validity'"),
        (["xyz"], r"named 'xyz'\. Suites: plain, strict; in them: Valid"),
        (["vality"], "Length; plugins: absent"),
        (["plain", "valid"], "named 'valid'"),
    ],
)
def test_an_unknown_name(names, words):
    with pytest.raises(UsageError, match=words):
        chosen(Words(), names)


def test_a_wrong_setting_is_an_error_at_once():
    with pytest.raises(UsageError, match="metric uniqueness: no setting 'frist'; did you mean 'first'"):
        Evaluation(Words(), {"Unique": ("uniqueness", {"frist": 3})})
    with pytest.raises(UsageError, match="as_stored"):
        Evaluation(Words(), {"Novel": ("novelty", {"as_stored": True, "by": "initial"})})


def test_an_observer_of_a_feature_that_is_not_there(evaluation):
    with pytest.raises(UsageError, match="no feature 'colour'"):
        evaluation("validity").evaluate(ROWS, features=["colour"])


def test_names_are_of_suites_and_metrics():
    assert list(chosen(Words())) == ["Valid", "Unique", "Novel", "Length/{}"]
    assert chosen(Words(), ["mean_length", "length_distance"]) == {
        "mean_length": ("mean_length", {}),
        "length_distance/{}": ("length_distance", {}),
    }
    assert list(chosen(Words(), ["measures:mean_length"])) == ["measures:mean_length"]


def test_one_metric_of_a_suite():
    assert chosen(Words(), ["Length", "Valid"]) == {"Length/{}": ("length_distance", {}), "Valid": ("validity", {})}


def test_labels_that_mean_different_things_are_kept_apart():
    found = chosen(Words(), ["plain", "strict", "plain"])
    assert list(found) == ["Valid", "Unique", "Novel", "Length/{}", "Valid (strict)"]
