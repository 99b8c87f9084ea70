"""The figures of `molgen evaluate` by hand, and what makes them comparable."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from types import SimpleNamespace

import pytest
from support.word_figures import COUNTS, GENERATED, values


def test_the_default_suite_by_hand(figures):
    found, by_label = figures()
    assert values(by_label) == {"Valid": 4 / 6, "Unique": 3 / 4, "Novel": 2 / 3, "Length/birds": 0.5}
    assert found["files"][0].items() >= {"name": "gen", **COUNTS}.items()
    assert found["complete"] is True
    valid, distance = by_label["Valid"], by_label["Length/birds"]
    assert valid["low"] < valid["value"] < valid["high"]
    assert (valid["count"], valid["better"], valid["reference"], valid["metric"]) == (6, "higher", None, "validity")
    assert (distance["reference"], distance["better"], distance["low"]) == ("birds", "lower", None)


def test_what_was_compared_with_what(figures, tmp_path):
    found, _ = figures()
    digest = hashlib.sha256((tmp_path / "birds.txt").read_bytes()).hexdigest()
    assert found["references"] == [
        {"name": "birds", "source": "birds.txt", "sha256": digest, "rows": 2, "valid": 2},
    ]
    assert found["training"]["source"] == "learned.txt"
    assert found["metrics"] == ["plain"]
    assert found["seed"] == 0
    assert {"python", "molgen", "rdkit", "torch", "fcd"} <= set(found["versions"])
    assert set(found["seconds"]) == {"checking", "summarising", "gen", "all"}
    assert found["files"][0]["sha256"] == hashlib.sha256(GENERATED.encode()).hexdigest()


def test_the_same_twice(figures):
    (_, first), (_, second), (_, other) = figures("--seed", "3"), figures("--seed", "3"), figures("--seed", "4")
    assert _without_seconds(first) == _without_seconds(second)
    assert values(first) == values(other)
    assert first["Valid"]["low"] != other["Valid"]["low"]


def _without_seconds(by_label):
    return [{**figure, "seconds": 0} for figure in by_label.values()]


def test_suites_and_single_metrics(figures):
    _, by_label = figures("--metrics", "strict,mean_length,length_distance")
    assert set(by_label) == {"Valid", "mean_length", "length_distance/birds"}
    assert by_label["Valid"]["warning"] == "6 rows; the protocol asks for 1,000"
    assert by_label["Valid"]["settings"] == {"enough": 1000}
    assert set(figures("--metrics", "all")[1]) == {"Valid", "Unique", "Novel", "Length/birds", "Valid (strict)"}


def test_several_references(figures):
    _, by_label = figures("-r", "learned.txt", "--metrics", "length_distance")
    assert values(by_label) == {"length_distance/birds": 0.5, "length_distance/learned": 0.5}


def test_nothing_to_compare_with(figures):
    _, by_label = figures(sets=())
    assert values(by_label) == {"Valid": 4 / 6, "Unique": 3 / 4, "Novel": None, "Length": None}
    assert by_label["Novel"]["note"] == "there is no training set to compare with"
    assert not any(figure["error"] for figure in by_label.values())


@pytest.mark.parametrize("text", ["7\n\n8\n", ""])
def test_no_valid_row_is_no_failure(text, figures, tmp_path):
    (tmp_path / "gen.txt").write_text(text)
    _, by_label = figures()
    assert by_label["Unique"]["value"] is by_label["Length/birds"]["value"] is None
    assert by_label["Unique"]["note"] == "no valid item"
    assert by_label["Valid"]["value"] == (0 if text else None)


def test_a_metric_that_fails(figures):
    _, by_label = figures("--metrics", "plain,fails_to_add", code=3)
    failed = by_label["fails_to_add"]
    assert failed["value"] is None
    assert failed["error"].startswith("ValueError: cannot add")
    assert by_label["Valid"]["value"] == 4 / 6
    figures("--metrics", "fails_to_add", code=1)


def test_several_files_share_the_summaries(figures, tmp_path):
    (tmp_path / "other.txt").write_text("elephant\n")
    found, _ = figures(files=("gen.txt", "other.txt"))
    assert [(one["name"], one["rows"]) for one in found["files"]] == [("gen", 6), ("other", 1)]
    assert found["files"][1]["figures"][3]["value"] == 4


def test_stdin(words, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(GENERATED.encode())))
    words("--format", "json", "-q", files=("-",))
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert file.items() >= {"name": "stdin", "file": None, "sha256": None, **COUNTS}.items()
