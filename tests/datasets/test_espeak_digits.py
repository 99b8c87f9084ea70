"""Synthetic digits by a program that stands for eSpeak NG and writes how it was called."""

import os

import pytest

from molgen.errors import MolgenError, UsageError
from molgen_datasets.sources import espeak_digits
from molgen_datasets.sources.espeak_digits import WORDS, EspeakDigits, of_split, settings

PROGRAM = """#!/bin/sh
if [ "$1" = --version ]; then echo "eSpeak NG text-to-speech: 1.99  Data at: $0"; exit 0; fi
case "$9" in $REFUSED) echo "no such word" >&2; exit 1;; esac
printf 'RIFF\\005\\000\\000\\000%s %s %s' "$(printf %.1s "$9")" "$(printf %.1s "$4")" "$(printf %.1s "$6")" > "$8"
"""


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(espeak_digits, "ACCENTS", ("en-us", "en-gb"))
    monkeypatch.setattr(espeak_digits, "VOICES", ("m1", "f1", "f2", "f3"))


@pytest.fixture
def program(tmp_path, monkeypatch):
    command = tmp_path / "bin" / "espeak-ng"
    command.parent.mkdir()
    command.write_text(PROGRAM)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("REFUSED", "-")
    return command


def test_every_digit_of_a_setting_is_in_one_split(program, cache):
    found = {split: list(EspeakDigits().records(split)) for split in EspeakDigits.splits}
    assert sum(map(len, found.values())) == 10 * len(list(settings()))
    for split, records in found.items():
        assert len(records) == 10 * len(of_split(split))
        for record in records:
            columns = record.columns
            word = WORDS[int(columns["digit"])]
            assert record.item[8:].decode() == f"{word[0]} {columns['pace'][0]} {columns['pitch'][0]}"
            assert set(columns) == set(EspeakDigits().columns(split))
    assert list(EspeakDigits().items("train")) == [record.item for record in found["train"]]


def test_files_are_made_once_for_a_version(program, monkeypatch):
    data, reports = EspeakDigits(), []
    assert not data.fetched()
    data.fetch(lambda done, total: reports.append((done, total)))
    assert data.fetched()
    assert reports[0][0] == 1
    assert reports[-1][0] == reports[-1][1]
    monkeypatch.setattr(espeak_digits, "_make", None)
    data.fetch()
    before = data.digest("train")
    program.write_text(PROGRAM.replace("1.99", "2.00"))
    assert data.digest("train") != before
    assert not data.fetched("train")


def test_without_the_program_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(EspeakDigits().digest("test")) == 64
    with pytest.raises(UsageError, match="type: apt install espeak-ng"):
        EspeakDigits().records("train")
    with pytest.raises(UsageError, match="no split 'all'"):
        EspeakDigits().fetch(split="all")


def test_what_it_cannot_say_is_an_error_and_leaves_nothing(program, monkeypatch, cache, files_below):
    monkeypatch.setenv("REFUSED", "seven")
    with pytest.raises(MolgenError, match=r"cannot speak 'seven' .* \(no such word\)"):
        EspeakDigits().fetch()
    assert files_below(cache) == []


def test_the_counts_that_are_stated_are_those_of_the_recipe():
    assert sum(EspeakDigits.splits.values()) == 2880
