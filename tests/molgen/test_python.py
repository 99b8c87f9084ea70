"""Train, sample, score and evaluate from Python, with parts of one's own."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from support.toys import Tokens

import molgen
from molgen import GenerativeModel, registry
from molgen.backbones.recurrent.causal import Recurrent
from molgen.config import Part
from molgen.data.prepare import TrainingData
from molgen.domain import Encoder, Invalid
from molgen.errors import UsageError
from molgen.families.autoregressive import Autoregressive
from molgen.space import Axis, Categorical
from molgen.training.config import TrainingConfig

ITEMS = ["CCO", "OCC", "CCN", "c1ccccc1", "C(", "CCCl", "CC#N", "CCCO"]
NETWORK = Part("recurrent", {"width": 8, "layers": 1, "embedding": 4})
QUICK = {"steps": 3, "batch_size": 4, "validation": 0.0}


def fresh(conditions=()):
    return GenerativeModel(Part("molecules.smiles", {"max_length": 20}), backbone=NETWORK, conditions=conditions)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOLGEN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def embedded():
    return GenerativeModel.load("moses")


def test_items_become_a_model_and_nothing_is_printed(capfd):
    model = fresh().fit(ITEMS, seed=3, **QUICK)
    assert capfd.readouterr() == ("", "")
    report = model.fit_report
    assert (report.items, report.folder) == (6, None)
    assert [(row.row, row.text) for row in report.rejected] == [(1, "OCC"), (4, "C(")]
    assert report.counts["equal to an earlier row"] == 1
    assert not model.is_novel("CCO")
    assert len(model.log_density(["CCO", "CCN"])) == 2
    same = fresh().fit(iter(ITEMS), training=TrainingConfig(seed=3, **QUICK))
    assert [one.log_density for one in same.log_density(["CCO"])] == [
        one.log_density for one in model.log_density(["CCO"])
    ]


@pytest.mark.parametrize("kind", ["path", "text", "training data"])
def test_files_and_prepared_data_are_data_too(tmp_path, kind):
    file = tmp_path / "own.csv"
    file.write_text("smiles,activity\n" + "".join(f"{item},{k}\n" for k, item in enumerate(ITEMS)))
    prepared = TrainingData("own", lambda: ((item, {}) for item in ["CCO", "CCN", Invalid("spoilt")]))
    data = {"path": file, "text": str(file), "training data": prepared}[kind]
    model = fresh().fit(data, output=tmp_path / "run", **QUICK)
    assert model.info["data"]["name"] == "own"
    assert model.fit_report.items == (2 if kind == "training data" else 6)
    again = GenerativeModel.load(tmp_path / "run")
    assert again.log_density(["CCO"]) == model.log_density(["CCO"])


def test_conditions_come_as_columns_or_beside_the_items(tmp_path):
    values = {"activity": list(range(8)), "class": ["a", "b"] * 4}
    model = fresh().fit(ITEMS, conditions=values, **QUICK)
    assert model.config.conditions == ("activity", "class")
    assert model.conditions.classes["class"] == ("a", "b")
    computed = fresh().fit(ITEMS, conditions=["logp"], **QUICK)
    assert computed.sample_rows(2, condition={"logp": 1.0}, workers=1)


def test_a_run_goes_on_in_its_folder(tmp_path):
    fresh().fit(ITEMS, output=tmp_path / "run", **QUICK)
    with pytest.raises(UsageError, match="is not empty"):
        fresh().fit(ITEMS, output=tmp_path / "run", **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the learning rate is now that of a longer run
        longer = fresh().fit(ITEMS, output=tmp_path / "run", resume=True, **{**QUICK, "steps": 5})
    assert longer.info["training"]["steps"] == 5


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ("no such thing", {}, "neither a file nor a data set"),
        ([], {}, "no item to learn from"),
        (7, {}, "nothing can be learned from int"),
        (["C("], {}, "no row of items can be encoded"),
        (ITEMS, {"conditions": {"y": [1]}}, "1 values for 8 items"),
        (ITEMS, {"conditions": ["nothing"]}, "neither a column"),
        (ITEMS, {"step": 3}, "no setting 'step'"),
        (ITEMS, {"resume": True}, "output="),
    ],
)
def test_what_cannot_be_learned_from_is_one_sentence(data, more, message):
    with pytest.raises(UsageError, match=message):
        fresh().fit(data, **{**QUICK, **more})


def test_samples_as_items_as_a_table_and_as_tensors(embedded):
    items = embedded.sample_items(4, seed=5, accept=("unique",), workers=1)
    assert len(set(items)) == 4
    table = embedded.sample_table(5, seed=5, properties=["logp"], workers=1)
    assert table.num_rows == 5
    assert table.column_names[-1] == "logp"
    assert [item for item in table["smiles"].to_pylist() if item][:1] == items[:1]
    batch = embedded.sample_batch(3, seed=5)
    assert batch.fields["tokens"].shape[0] == 3
    drawn = list(embedded.sample(3, seed=5))
    np.testing.assert_array_equal(
        batch.fields["tokens"][0, : len(drawn[0].sample["tokens"])], drawn[0].sample["tokens"]
    )


def test_evaluate_against_items(embedded):
    figures = embedded.evaluate(
        ["CCO", "CCN"], items=["CCO", "CCC", "C("], training=["CCO"], metrics=["validity", "Novelty"], workers=1
    )
    assert figures["validity"].estimate.value == pytest.approx(2 / 3)
    assert figures["Novelty"].estimate.value == pytest.approx(1 / 2)


@pytest.mark.parametrize("call", ["log_density", "encode", "reconstruct"])
@pytest.mark.parametrize("items", ["CCO", b"CCO", torch.zeros(2, 3), {"smiles": "CCO"}, 5])
def test_what_is_no_list_of_items_is_refused(embedded, call, items):
    with pytest.raises(UsageError, match="expected a list of items"):
        getattr(embedded, call)(items)


# --- parts of one's own -----------------------------------------------------------------------------


class Letters(Encoder):
    """Short chains of carbon, nitrogen and oxygen."""

    space = {"letters": Categorical((Axis("length", 4, minimum=1),), classes=3)}  # noqa: RUF012

    def encode(self, item):
        if not 1 <= len(item) <= 4 or set(item) - set("CNO"):
            return Invalid("not one to four letters C, N, O")
        return {"letters": np.array(["CNO".index(letter) for letter in item])}

    def decode(self, sample):
        return "".join("CNO"[k] for k in sample["letters"])


class MyFamily(Autoregressive):
    """The default family under a name of its own."""


class MyNetwork(Recurrent):
    """The default network under a name of its own."""


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    registry._session.clear()


@pytest.mark.parametrize("encoder", [Letters, Letters()])
def test_classes_serve_without_packaging(tmp_path, encoder):
    model = GenerativeModel(encoder, family=MyFamily, backbone=MyNetwork, domain="molecules")
    assert model.config.encoder.name == "molecules.Letters"
    model.fit(["CCO", "CCN", "C", "NO"], **QUICK)
    assert type(model.family) is MyFamily
    with pytest.warns(UserWarning, match=r"classes=.*encoder molecules.Letters, family MyFamily, backbone MyNetwork"):
        model.save(tmp_path / "model")
    registry._session.clear()
    with pytest.raises(UsageError, match=r"no encoder is named 'molecules\.Letters'"):
        GenerativeModel.load(tmp_path / "model")
    again = GenerativeModel.load(tmp_path / "model", classes=[Letters, MyFamily, MyNetwork])
    assert again.log_density(["CCO"]) == model.log_density(["CCO"])


def test_a_domain_that_is_its_own_encoder_needs_nothing_else():
    model = GenerativeModel(Tokens, backbone=NETWORK).fit(["a", "ab", "abc", "b"], **QUICK)
    assert model.sample_rows(3)[0].columns("item")["status"] == "valid"


def test_classes_that_cannot_serve_are_refused():
    with pytest.raises(UsageError, match="give domain="):
        GenerativeModel(Letters)
    with pytest.raises(UsageError, match="registry name, a Part or a class of molgen"):
        GenerativeModel("molecules.smiles", family=dict)


def test_installed_classes_keep_their_names():
    assert GenerativeModel("molecules.smiles", Autoregressive).config.family.name == "autoregressive"


# --- what the package shows -------------------------------------------------------------------------


def test_every_public_name_is_there():
    assert set(molgen.__all__) == set(molgen._PUBLIC) | {"__version__"}
    for name in molgen.__all__:
        assert getattr(molgen, name) is not None


def test_import_is_quick_and_without_torch():
    code = "import sys, molgen; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("module", ["molgen.model.workflow", "molgen.model.generative_model", "molgen.family"])
def test_examples_run(module):
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert failed == 0
    assert tried > 0
