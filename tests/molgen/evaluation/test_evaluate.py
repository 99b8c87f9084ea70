"""Evaluations of toy domains: one pass, cached summaries, and failures that stay alone."""

from __future__ import annotations

import math
import random
import re
from contextlib import contextmanager

import pytest
from support.measures import Lengths, Words, register
from support.toys import TOYS

from molgen import registry
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.evaluation import features as examining
from molgen.evaluation.evaluate import Evaluation, ItemSet, chosen
from molgen.evaluation.features import FeatureExtractor
from molgen.evaluation.reference_cache import Request, Summaries
from molgen.metric import Better, Summary

ROWS = ["cat", "Cat", Invalid("an empty line"), "house", "7", "dog"]
REFERENCE = ["bird", "fish"]
TRAINING = ["DOG", "cow"]


@pytest.fixture(autouse=True)
def _registered(fake_distribution):
    register(fake_distribution)
    Lengths.made.clear()


def item_set(name, items, digest=None):
    return ItemSet(name, lambda: iter(items), digest or repr((name, items)))


@pytest.fixture
def evaluation(tmp_path):
    """An evaluation of words against two sets; names are those of metrics or suites."""

    def make(*names, domain=None, **changes):
        domain = domain or Words()
        settings = {"references": [item_set("Birds", REFERENCE)], "training": item_set("learned", TRAINING)}
        settings |= {"wanted": chosen(domain, names), "cache": tmp_path / "summaries"}
        return Evaluation(domain, **{**settings, **changes})

    return make


def by_label(figures):
    return {figure.label: figure for figure in figures}


def values(figures):
    return {figure.label: figure.estimate.value for figure in figures}


# --- what comes out -------------------------------------------------------------------------------


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


# --- nothing to compare with ----------------------------------------------------------------------


def test_without_sets_the_rest_is_computed(evaluation):
    found = by_label(evaluation("plain", "between_lengths", references=(), training=None).evaluate(ROWS))
    assert found["Valid"].estimate.value == 4 / 6
    assert found["Novel"].estimate.note == "there is no training set to compare with"
    assert found["Length"].estimate.note == "there is no reference set to compare with"
    assert found["between_lengths"].estimate.note == "there is no reference set to compare with"
    assert not any(figure.error for figure in found.values())
    assert not Lengths.made


# --- failures -------------------------------------------------------------------------------------


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


def test_a_reference_without_an_item(evaluation):
    found = by_label(evaluation(references=[item_set("Birds", ["7"])]).evaluate(ROWS))
    assert found["Length/Birds"].error == "Birds could not be summarised: Birds holds no valid item"
    assert found["Novel"].estimate.value == 2 / 3


def test_others_may_read_a_summary_as_they_may_any_new_file(evaluation, tmp_path):
    evaluation("length_distance").prepare()
    (path,) = tmp_path.glob("summaries/*")
    (tmp_path / "new").touch()
    assert path.stat().st_mode == (tmp_path / "new").stat().st_mode


def test_a_failed_summary_is_not_kept(evaluation, tmp_path):
    evaluation("fails_to_summarise").evaluate(ROWS)
    assert not list(tmp_path.glob("summaries/*"))


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


# --- choosing -------------------------------------------------------------------------------------


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


# --- summaries ------------------------------------------------------------------------------------


def summaries_in(folder):
    return sorted(path.name for path in folder.glob("summaries/*"))


def test_summaries_are_found_again(evaluation, tmp_path):
    first = evaluation().evaluate(ROWS)
    kept = summaries_in(tmp_path)
    assert len(kept) == 2
    read = []
    again = [item_set(s.name, [], s.digest) for s in (evaluation().references[0], evaluation().training)]
    second = evaluation(references=again[:1], training=again[1], watch=watched(read)).evaluate(ROWS)
    assert [figure.estimate for figure in second] == [figure.estimate for figure in first]
    assert summaries_in(tmp_path) == kept
    assert not read


def watched(read):
    @contextmanager
    def watch(name, count):
        rows = []
        yield rows.append
        read.append((name, count, sum(rows)))

    return watch


@pytest.mark.parametrize(
    "changes",
    [
        {"versions": {"rdkit": "2"}},
        {"references": [item_set("Birds", ["bird"])]},
        {"domain": type("OtherWords", (Words,), {})()},
    ],
)
def test_other_versions_contents_and_domains_have_summaries_of_their_own(changes, evaluation, tmp_path):
    evaluation("length_distance", versions={"rdkit": "1"}).prepare()
    evaluation("length_distance", **{"versions": {"rdkit": "1"}, **changes}).prepare()
    assert len(summaries_in(tmp_path)) == 2


def test_a_set_is_read_once_for_all_metrics(evaluation):
    read = []
    both = item_set("both", REFERENCE)
    evaluation("plain", "between_lengths", references=[both], training=both, watch=watched(read)).prepare()
    assert read == [("both", None, 2)]
    assert len(Lengths.made) == 1


def test_metrics_and_files_share_loaded_summaries(evaluation):
    made = evaluation("length_distance", "between_lengths", training=item_set("learned", TRAINING))
    made.evaluate(ROWS)
    Lengths.made.clear()
    made.evaluate(ROWS)
    assert not Lengths.made
    assert made.summaries.counts == {made.references[0].digest: (2, 2), made.training.digest: (2, 2)}


@pytest.mark.parametrize("damage", [lambda old: b"nonsense", lambda old: old[:-1], lambda old: b""])
def test_a_damaged_summary_is_made_anew(evaluation, tmp_path, damage):
    evaluation("length_distance").prepare()
    (path,) = tmp_path.glob("summaries/*")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    (figure,) = evaluation("length_distance").evaluate(ROWS)
    assert figure.estimate.value == 0.5
    assert len(path.read_bytes()) == len(whole)


def test_a_cache_that_cannot_be_written_fails_no_metric(evaluation, tmp_path):
    (tmp_path / "file").write_text("no folder")
    (figure,) = evaluation("length_distance", cache=tmp_path / "file" / "summaries").evaluate(ROWS)
    assert (figure.estimate.value, figure.error) == (0.5, "")


def test_summaries_are_found_again_when_code_moves(evaluation, tmp_path, monkeypatch):
    evaluation("length_distance").prepare()
    (before,) = summaries_in(tmp_path)
    for cls in (Words, Lengths):
        monkeypatch.setattr(cls, "__module__", "elsewhere.now")
    evaluation("length_distance").prepare()
    assert summaries_in(tmp_path) == [before]


def test_summaries_that_ship_with_a_domain_come_first(evaluation, tmp_path):
    evaluation("length_distance").prepare()
    domain = Words()
    domain.summaries = tmp_path / "summaries"
    made = evaluation("length_distance", domain=domain, cache=tmp_path / "elsewhere")
    assert made.evaluate(ROWS)[0].estimate.value == 0.5
    assert not (tmp_path / "elsewhere").exists()


def test_an_interrupt_leaves_no_summary(evaluation, tmp_path):
    def items():
        yield "bird"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluation(references=[ItemSet("Birds", items, "x")], training=None).prepare()
    assert not summaries_in(tmp_path)


# --- examining ------------------------------------------------------------------------------------


def test_portions_without_items_have_features_of_the_right_shape(monkeypatch):
    monkeypatch.setattr(examining, "ROWS", 2)
    with FeatureExtractor(Words(), ["length", "letters", "initial", "embedding"]) as examiner:
        empty, full = examiner.chunks(["1", "2", "cat", "3"])
    assert empty.items == []
    for name in ("length", "letters", "embedding"):
        assert empty.features[name].shape == (0, *full.features[name].shape[1:])
        assert empty.features[name].dtype == full.features[name].dtype
    assert empty.features["initial"] == []


def test_seconds_say_what_took_them(evaluation):
    made = evaluation("embedded")
    made.evaluate(ROWS)
    assert set(made.seconds) == {"waiting for workers", "embedding", "metrics"}


def test_the_core_names_exist():
    from molgen.metrics import identity

    named = [p.target for p in registry.plugins("metric") if p.module == "molgen.metrics.identity"]
    assert len(named) == 6
    assert all(hasattr(identity, target.partition(":")[2]) for target in named)


@pytest.mark.parametrize(
    ("stored", "reads", "expected"), [(True, False, "OCC"), (True, True, "CCO"), (False, False, "CCO")]
)
def test_a_set_that_is_used_as_stored_is_not_rewritten_for_features_alone(stored, reads, expected, tmp_path):
    seen = []

    class Bits(Summary):
        reads_items = reads

        def add(self, chunk):
            seen.extend(chunk.items)

        def arrays(self):
            return {}

        def load(self, arrays):
            pass

    items = ItemSet("mine", lambda: iter(["OCC"]), "digest", canonical=stored)
    Summaries(registry.get("domain", "molecules")(), tmp_path, {}, processes=1).make(items, [Request(Bits, None)])
    assert seen == [expected]
