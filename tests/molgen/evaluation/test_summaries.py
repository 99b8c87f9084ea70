"""Summaries of sets and features of items: made once, found again, damaged, and of the right shape."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from support.evaluations import REFERENCE, ROWS, TRAINING, by_label, item_set
from support.measures import Lengths, Words

from molgen import registry
from molgen.evaluation import features as examining
from molgen.evaluation.evaluate import ItemSet
from molgen.evaluation.features import FeatureExtractor
from molgen.evaluation.reference_cache import Request, Summaries
from molgen.metric import Summary


def summaries_in(folder):
    return sorted(path.name for path in folder.glob("summaries/*"))


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
