"""Labels, learners, repeated learning and columns, on data of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from molgen.errors import PluginError, UsageError
from molgen_datasets.audit import fidelity
from molgen_datasets.audit.items import Items
from molgen_datasets.audit.labels import chosen, labels_of
from molgen_datasets.audit.learners import KNOWN, factory
from molgen_datasets.audit.settings import Settings
from molgen_datasets.audit.utility import Trials, mean_of, section, sides_of, skill


def items(name, columns, features=None, properties=None):
    count = len(columns)
    return Items(name, (count, count), [*range(count)], np.arange(count), columns, features or {}, properties or {})


class Plain:
    """A domain as far as labels need one."""

    usual_properties = ()

    def descriptors(self):
        from molgen import Descriptors

        return Descriptors(properties={"weight": float})


def test_a_label_is_a_column_an_asked_condition_or_a_property():
    real = items("real", [{"label": "a"}, {"label": " b "}, {"label": "n/a"}])
    drawn = items("drawn", [{"condition_label": "b"}, {"condition_label": "b"}])
    assert chosen(None, Plain(), (real, real, drawn)) == "label"
    found = labels_of("label", (real, real, drawn))
    assert found.classes
    assert [list(values) for values in found.values] == [["a", "b", ""], ["a", "b", ""], ["b", "b"]]
    assert found.known(0).tolist() == [True, True, False]
    assert labels_of("label", (real, items("bare", [{}]))) is None
    assert chosen(None, Plain(), (items("bare", [{}]),)) is None
    with pytest.raises(UsageError, match="did you mean 'weight'"):
        chosen("wieght", Plain(), (real,))


def test_a_few_numbers_are_classes_and_many_are_numbers():
    few = items("few", [{"n": f"{k % 3}.0"} for k in range(30)])
    other = items("other", [{"n": str(k % 3)} for k in range(30)])
    found = labels_of("n", (few, other))
    assert found.classes
    assert found.values[0].tolist() == found.values[1].tolist() == [str(k % 3) for k in range(30)]
    many = items("many", [{} for _ in range(20)], properties={"w": np.append(np.arange(19.0), np.nan)})
    found = labels_of("w", (many, many))
    assert not found.classes
    assert found.known(0).sum() == 19


def blobs(count, seed, classes=True):
    """Points of the plane, with the side of a line that they lie on, or their distance from it."""
    x = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    return x, np.where(x.sum(1) > 0, "up", "down") if classes else x.sum(1)


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("name", KNOWN)
def test_every_learner_learns(name, classes):
    train, test = blobs(150, 0, classes), blobs(150, 1, classes)
    first, again = (skill(lambda: factory(name)(classes=classes, seed=3), [train], test, classes) for _ in range(2))
    assert first == again
    assert first > 0.85


def one_answer(classes, seed):
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="constant", constant="up")


def test_a_learner_of_a_plugin_is_found_and_another_is_refused():
    made = factory("molgen_datasets.audit.learners:linear")(classes=True, seed=0)
    assert skill(lambda: made, [blobs(100, 0)], blobs(100, 1), True) > 0.9
    with pytest.raises(PluginError, match="did you mean 'forest'"):
        factory("forst")
    with pytest.raises(PluginError, match="cannot be imported"):
        factory("nowhere:made")


def test_balanced_accuracy_is_that_of_the_mean_class_and_one_class_alone_is_named_always():
    test = (np.zeros((4, 1)), np.array(["up", "down", "down", "down"]))
    assert skill(lambda: one_answer(True, 0), [(np.zeros((2, 1)), np.array(["up", "down"]))], test, True) == 0.5
    assert skill(lambda: one_answer(True, 0), [(np.zeros((2, 1)), np.array(["down"] * 2))], test, True) == 0.5
    assert skill(lambda: one_answer(True, 0), [(np.zeros((2, 1)), np.array(["left"] * 2))], test, True) == 0.0


def test_the_interval_of_a_mean_is_that_of_student():
    found = mean_of(np.array([1.0, 2.0, 3.0]))
    assert (found.value, found.high - 2) == pytest.approx((2.0, 4.302653 / np.sqrt(3)))
    assert np.isnan(mean_of(np.array([1.0])).low)


def sets(drawn_labels):
    made = {}
    for name, (x, y) in {"train": blobs(400, 0), "holdout": blobs(300, 1), "drawn": blobs(400, 2)}.items():
        texts = drawn_labels(y) if name == "drawn" else y
        made[name] = items(name, [{"label": text} for text in texts], {"points": x})
    return tuple(made.values())


def test_synthetic_items_like_the_real_ones_teach_the_same_and_wrong_labels_do_not():
    found = {}
    for name, change in (("like", lambda y: y), ("wrong", lambda y: np.where(y == "up", "down", "up"))):
        sides = sets(change)
        trials = {"factory": KNOWN["linear"], "repeats": 3, "most": 300, "rng": np.random.default_rng(0)}
        one = section(labels_of("label", sides), "points", sides, trials)
        found[name] = {finding.label: finding.estimate for finding in one.findings}
        assert [row[0] for row in one.tables[0].rows] == ["100", "300"]
    assert abs(found["like"]["TSTR less TRTR"].value) < 0.05
    assert found["like"]["TRTR: balanced accuracy"].value > 0.95
    assert found["wrong"]["TSTR: balanced accuracy"].value < 0.05
    assert found["wrong"]["gain beside 100 real labels"].high < -0.5


def test_trials_are_a_function_of_their_randomness():
    sides = sides_of("points", labels_of("label", sets(lambda y: y)), sets(lambda y: y))
    runs = [Trials(sides, KNOWN["linear"], 2, 50, np.random.default_rng(4)).swapped() for _ in range(2)]
    assert {name: values.tolist() for name, values in runs[0].items()} == {
        name: values.tolist() for name, values in runs[1].items()
    }


def test_the_label_is_no_part_of_what_is_learned_from_a_row():
    rows = [{"x": float(n), "kind": "ab"[n % 2]} for n in range(30)]
    side = items("rows", [{"kind": row["kind"]} for row in rows], {"columns": rows})
    found = sides_of("columns", labels_of("kind", (side, side, side)), (side, side, side))
    assert found.training[0].shape == (30, 1)
    alone = [{"kind": row["kind"]} for row in rows]
    side = items("rows", alone, {"columns": alone})
    assert not sides_of("columns", labels_of("kind", (side, side, side)), (side, side, side)).training[0].any()


def test_columns_of_properties_are_compared_as_those_of_a_table():
    rng = np.random.default_rng(0)
    sides = [
        items(name, [{}] * 200, properties={"a": rng.normal(shift, 1, 200), "b": rng.normal(size=200)})
        for name, shift in (("train", 0), ("holdout", 0), ("drawn", 3))
    ]
    sides[1].properties["b"][:20] = np.nan
    found = fidelity.section(*(fidelity.cells_of(one, None) for one in sides), rng)
    mean = found.findings[0]
    rows = {row[0]: row[1:] for row in found.tables[0].rows}
    assert rows["a"][0] < 0.3 < 0.85 < rows["a"][1]
    assert mean.estimate.value == pytest.approx(np.mean([row[0] for row in rows.values()]))
    assert mean.control > mean.estimate.high
    assert [row[0] for row in found.tables[1].rows] == ["a and b"]


@pytest.mark.parametrize("wrong", [{"most": 1}, {"near": -0.5}, {"repeats": 0}, {"learned": 1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError):
        Settings(**wrong)


def test_what_cannot_be_learned_is_said():
    trials = {"factory": KNOWN["linear"], "repeats": 2, "most": 9, "rng": np.random.default_rng(0)}
    one = sets(lambda y: ["up"] * len(y))
    alike = (one[2], one[1], one[2])
    found = section(labels_of("label", alike), "points", alike, trials)
    assert found.words == ["The label 'label' cannot be learned: it is the same for all training items."]
    bare = items("bare", [{"label": "up"}, *[{"label": ""}] * 9], {"points": np.zeros((10, 2))})
    found = section(labels_of("label", (one[0], bare, one[2])), "points", (one[0], bare, one[2]), trials)
    assert "fewer than two items" in found.words[0]
