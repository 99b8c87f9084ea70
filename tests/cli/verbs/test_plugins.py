"""`molgen plugins`: what is installed, and the checks of one plugin."""

from __future__ import annotations

import json
import re

import pytest

from molgen_cli.main import main

WORDS = """
from typing import ClassVar
import numpy as np
from molgen import Axis, Categorical, Domain, Encoder

class Words(Domain, Encoder):
    molgen_api: ClassVar[int] = 1
    space: ClassVar = {"letters": Categorical((Axis("length", 5),), classes=2)}

    def examples(self):
        return ["ab", "b"]

    def encode(self, item):
        return {"letters": np.array(["ab".index(letter) for letter in item])}

    def decode(self, sample):
        return "".join("ab"[k] for k in sample["letters"])
"""
#: The same, but for a decoder that fails.
BROKEN = WORDS.replace('return "".join', 'assert len(sample["letters"]) < 5, "too long"\n        return "".join')


@pytest.fixture
def words(fake_distribution):
    """A plugin that keeps its contract, and one that does not."""
    plugins = {"domain": {"words": "words_x:Words", "broken": "broken_x:Words"}}
    fake_distribution("molgen-words", "1.0", plugins, {"words_x": WORDS, "broken_x": BROKEN})


def test_list_as_json(words, capsys):
    assert main(["plugins", "list", "--kind", "domain", "--format", "json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["words"]["distribution"] == "molgen-words"


def test_list_says_what_can_be_used_and_imports_nothing(words, fake_distribution, capsys):
    fake_distribution("molgen-lost", "2.0", {"domain": {"lost": "lost_x:Lost"}})
    fake_distribution("molgen-needy", "3.0", {"domain": {"needy": "needy_x:N"}}, {"needy_x": ""}, ["absent-package>=1"])
    fake_distribution("molgen-clash", "4.0", {"domain": {"words": "clash_x:C"}}, {"clash_x": "raise SystemExit"})
    assert main(["plugins", "list", "--kind", "domain", "--format", "json"]) == 0
    rows = {(row["name"], row["distribution"]): row for row in json.loads(capsys.readouterr().out)}
    found = {key: row["status"] for key, row in rows.items()}
    assert found["broken", "molgen-words"] == found["molecules", "molgen-toolkit"] == "ok"
    assert found["lost", "molgen-lost"] == (
        "broken: there is no module 'lost_x'; type: pip install --upgrade molgen-lost"
    )
    assert found["needy", "molgen-needy"].startswith("needs absent-package, which is not installed; type: pip install")
    assert found["words", "molgen-clash"] == "clashes with molgen-words 1.0; ask for molgen-clash:words"
    assert rows["words", "molgen-clash"]["version"] == "4.0"
    assert rows["words", "molgen-clash"]["note"] == found["words", "molgen-clash"]  # its former name


def test_a_line_for_each_check(words, capsys):
    assert main(["plugins", "check", "words", "--only", "words: *"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert "ok       words: decode_inverts_encode" in lines
    assert all(line.startswith("ok ") for line in lines)
    assert captured.err == f"{len(lines)} ok, 0 skipped, 0 failed\n"


def test_a_broken_contract_is_a_line_with_the_reason_and_code_1(words, capsys):
    assert main(["plugins", "check", "broken", "--only", "decode*"]) == 1
    captured = capsys.readouterr()
    (line,) = [line for line in captured.out.splitlines() if line.startswith("failed")]
    assert line.startswith("failed   broken: decode_never_raises (decode raises AssertionError: too long on {'letters'")
    assert captured.err.splitlines()[-1].endswith("1 failed")
    explained = captured.out[captured.out.index("failed") :].splitlines()[1:5]
    assert [line.strip().partition(":")[0] for line in explained] == ["promised", "to do", "raised at", "alone"]
    assert "are decoded as items or as `Invalid` with a reason" in explained[0]
    assert "every class, and return `Invalid(reason)`" in explained[1]
    assert re.search(r"broken_x\.py:\d+ in decode$", explained[2])
    assert explained[3].endswith("molgen plugins check broken --only 'broken: decode_never_raises'")


def test_debugging_shows_where(words, capsys, monkeypatch):
    monkeypatch.setenv("MOLGEN_DEBUG", "1")
    assert main(["plugins", "check", "broken", "--only", "decode_never_raises"]) == 1
    assert "Traceback" in capsys.readouterr().out


def test_as_json(words, capsys):
    arguments = ["plugins", "check", "words", "--only", "latents*", "--format", "json"]
    assert main(arguments) == 0
    rows = {row["about"]: row for row in json.loads(capsys.readouterr().out)}
    row = rows["autoregressive over words"]
    assert row["check"] == "latents_have_their_space"
    assert row["verdict"] == "skipped"
    assert "no latents" in row["reason"]


def test_families_and_networks_are_checked_over_small_spaces(capsys):
    assert main(["plugins", "check", "autoregressive", "--only", "*over classes: loss_*"]) == 0
    assert main(["plugins", "check", "recurrent", "--only", "*order over words: outputs_*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ok       autoregressive over classes: loss_is_per_item" in lines
    assert "ok       recurrent in generation order over words: outputs_have_their_shape" in lines


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["wrds"], "no plugin is named 'wrds'; did you mean 'words'? All there are: molgen plugins list"),
        (
            ["molecules"],
            "the domain 'molecules' is no encoder; its encoders: molecules.",
        ),
        (["recurrent", "--kind", "family"], "no family is named 'recurrent'"),
        (["words", "--only", "nothing"], "no check is named 'nothing'; known: speaks_the_plugin_api, "),
    ],
)
def test_what_cannot_be_checked_is_wrong_usage(words, capsys, arguments, says):
    assert main(["plugins", "check", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
