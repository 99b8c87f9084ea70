"""A model over a trained one: it reads samples in the same way, and holds all of it."""

import json
import shutil

import pytest
import torch
from support.over import Over
from support.toys import Tokens, register

from molgen import registry
from molgen.atomic_files import sha256
from molgen.config import Part
from molgen.errors import UsageError
from molgen.model.checkpoint import Checkpoint
from molgen.model.generative_model import GenerativeModel
from molgen.space import Axis, Real
from molgen.testing import Outcome, family_checks, run_checks

WORDS = ["a", "ab", "cba", "bb", "cc", "abc", "ca", "b"]
SMALL = Part("recurrent", {"width": 8, "layers": 1, "embedding": 4})
RUN = {"steps": 3, "batch_size": 4, "save_every": 1, "validation": 0.0}
NUMBERS = {"a number": [float(len(word)) for word in WORDS]}


@pytest.fixture(autouse=True)
def _parts(fake_distribution):
    register(fake_distribution)
    registry.register("family", "Over", Over)


@pytest.fixture
def base(tmp_path):
    """The folder of a base with a condition."""
    GenerativeModel("tokens", backbone=SMALL).fit(WORDS, output=tmp_path / "base", conditions=NUMBERS, **RUN)
    return tmp_path / "base"


def over(base, **settings):
    return GenerativeModel("tokens", Part("Over", {"base": str(base), **settings}))


def densities(model, **how):
    return [scored.log_density for scored in model.log_density(WORDS, **how)]


@pytest.mark.filterwarnings("ignore:.*this model can be loaded only where")
def test_a_checkpoint_holds_what_it_was_made_over(base, tmp_path):
    before = GenerativeModel.load(base)
    found = over(base).fit(WORDS, output=tmp_path / "run", conditions=NUMBERS, **RUN)
    asked = {"condition": {"a number": 2.0}}
    shift = found.family.shift.item()
    for how in ({}, asked):
        assert densities(found, **how) == pytest.approx([value + shift for value in densities(before, **how)])
    assert densities(found) != densities(found, **asked)
    shutil.rmtree(base)
    again = GenerativeModel.load(tmp_path / "run")
    assert densities(again, **asked) == densities(found, **asked)
    again.save(tmp_path / "copy")
    assert densities(GenerativeModel.load(tmp_path / "copy")) == densities(found)
    assert "autoregressive over tokens (trained on items" in (tmp_path / "run/model/README.md").read_text()
    # Nothing in it leads to the folder that is gone but the setting, which is not followed.
    assert Checkpoint(tmp_path / "run").config["trained"]["base"]["keys"] == {}


@pytest.mark.filterwarnings("ignore:.*this model can be loaded only where")
def test_a_base_is_not_moved_and_a_resumed_run_is_the_same(base, tmp_path):
    def run(name, steps, **how):
        return over(base).fit(WORDS, output=tmp_path / name, **{**RUN, "steps": steps, "schedule": "cosine"}, **how)

    class Stopped(Exception):
        pass

    def stop(progress):
        if progress.step == 2:
            raise Stopped

    whole = run("whole", 4)
    with pytest.raises(Stopped):
        run("parts", 4, progress=stop)
    parts = run("parts", 4, resume=True)
    weights = parts.family.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in whole.family.state_dict().items())
    for name, tensor in GenerativeModel.load(base).family.state_dict().items():
        assert torch.equal(weights[f"base.family.{name}"], tensor), name


def test_a_model_over_a_trained_one_can_be_over_another(base, tmp_path):
    inner = over(base)
    inner.use(inner.build())
    outer = GenerativeModel("tokens", Part("Over", {"start": 2.0}), trained={"base": inner})
    outer.use(outer.build())
    with pytest.warns(UserWarning, match="family Over"):
        outer.save(tmp_path / "outer")
    shutil.rmtree(base)
    found = GenerativeModel.load(tmp_path / "outer")
    assert densities(found) == densities(outer)
    assert found.trained["base"].trained["base"].config.family.name == "autoregressive"


def test_units_conditions_and_the_keys_of_known_items_are_taken_over(base):
    model, before = over(base), GenerativeModel.load(base)
    assert model.conditions == before.conditions
    assert not model.is_novel("ab")
    assert model.conditions.only(["a number"]) == before.conditions
    assert model.conditions.only([]).names == ()


def test_a_wrong_base_is_refused_in_one_sentence(base, tmp_path):
    with pytest.raises(UsageError, match=r"family\.base: .* holds no molgen model"):
        over(tmp_path)
    with pytest.raises(UsageError, match=r"family\.base is a model of tokens, not of grid; type encoder=tokens"):
        GenerativeModel("grid", Part("Over", {"base": str(base)}))
    with pytest.raises(UsageError, match=r"type family\.base=RUN"):
        GenerativeModel("tokens", "Over").build()


def test_a_checkpoint_cannot_ask_for_another_folder(base, tmp_path):
    model = over(base)
    model.use(model.build())
    with pytest.warns(UserWarning, match="family Over"):
        model.save(tmp_path / "model")
    manifest, config = tmp_path / "model" / "manifest.json", tmp_path / "model" / "config.json"
    data = json.loads(config.read_text())
    del data["trained"]
    config.write_text(json.dumps(data))
    files = json.loads(manifest.read_text())
    files["files"]["config.json"] = {"sha256": sha256(config), "bytes": config.stat().st_size}
    manifest.write_text(json.dumps(files))
    with pytest.raises(UsageError, match="must be named"):
        GenerativeModel.load(tmp_path / "model")


CHECKED = {"every_parameter_has_a_phase", "can_be_copied", "weights_come_back", "log_density_is_as_declared"}


#: Numbers that an autoregressive family does not take one by one, for they have a common centre.
CENTRED = {"places": Real((Axis("atom", 4, ordered=False),), channels=(2,), centred=True)}


@pytest.mark.parametrize("over_what", [Tokens, CENTRED], ids=["tokens", "centred"])
def test_the_kit_gives_a_family_what_it_is_made_over(over_what):
    """The first of the families that take the space."""
    results = run_checks(check for check in family_checks(Over, over_what) if check.name in CHECKED)
    assert {result.check.name: result.reason for result in results if result.outcome is Outcome.OK}.keys() == CHECKED
