"""A model as one thing: generate, score, save and load."""

import math

import numpy as np
import pytest
import torch
from support.toys import Choices, Graph, Grid, Tokens, every_item, register

from molgen.batch import Partial, collate
from molgen.config import Part
from molgen.data.bloom import BloomFilter
from molgen.data.conditions import Conditions
from molgen.data.statistics import Moments, Statistics
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.family import Density, LogDensity
from molgen.model.checkpoint import CheckpointError
from molgen.model.generative_model import GenerativeModel

SMALL = Part("recurrent", {"width": 12, "layers": 2, "embedding": 6})
GENERATED = [Tokens, Grid, Graph, Choices]

every_toy = pytest.mark.parametrize("toy", GENERATED)


@pytest.fixture(autouse=True)
def _toys(fake_distribution):
    register(fake_distribution)


def a_model(toy=Tokens, conditions=()):
    """A model with weights far from zero, untrained."""
    model = GenerativeModel(toy.__name__.lower(), backbone=SMALL, conditions=conditions)
    model.conditions = Conditions(tuple(conditions), (2.0,) * len(conditions), (0.5,) * len(conditions))
    family = model.build(seed=1)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.use(family)
    return model


def items(model, count=60, **options):
    return [drawn.item for drawn in model.sample(count, seed=4, **options)]


# --- generating -----------------------------------------------------------------------------------


@every_toy
def test_a_seed_gives_the_same_items_in_batches_of_any_size(toy):
    model = a_model(toy)
    whole = items(model)
    assert items(model, batch_size=7) == whole
    assert items(model, batch_size=1) == whole
    assert [drawn.item for drawn in model.sample(60, seed=5)] != whole


def test_a_later_call_goes_on_where_the_earlier_ended():
    model = a_model()
    rest = list(model.sample(20, seed=4, first=40))
    assert [drawn.item for drawn in rest] == items(model)[40:]
    assert [drawn.index for drawn in rest] == list(range(40, 60))


@every_toy
def test_the_density_of_a_draw_is_that_of_scoring_it(toy):
    model = a_model(toy)
    drawn = list(model.sample(40, seed=0))
    scored = model.log_density([d.item for d in drawn])
    assert [d.log_density for d in drawn] == pytest.approx([s.log_density for s in scored], abs=1e-5)
    assert {d.kind for d in drawn} == {s.kind for s in scored} == {Density.EXACT}


def test_a_draw_carries_the_sample_that_it_was_decoded_from():
    assert all(Tokens().decode(drawn.sample) == drawn.item for drawn in a_model().sample(10))


def test_running_out_of_memory_halves_the_batch_and_changes_no_item(monkeypatch):
    model = a_model()
    expected, sample, counts = items(model), model.family.sample, []

    def short_of_memory(count, **options):
        counts.append(count)
        if count > 9:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sample(count, **options)

    monkeypatch.setattr(model.family, "sample", short_of_memory)
    assert items(model) == expected
    assert counts[:4] == [60, 30, 15, 7]


def test_what_is_no_lack_of_memory_is_not_tried_again(monkeypatch):
    model = a_model()
    monkeypatch.setattr(model.family, "sample", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        items(model)


def test_a_single_draw_that_does_not_fit_is_an_error(monkeypatch):
    model = a_model()
    monkeypatch.setattr(model.family, "sample", lambda *a, **k: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        items(model)


def test_a_known_beginning_is_given_as_an_item_or_as_a_part():
    model = a_model()
    begun = items(model, known="ba")
    assert all(item.startswith("ba") for item in begun)
    batch = collate(model.encoder.space, [model.encoder.encode("ba")])
    assert items(model, known=Partial(batch, {"letters": torch.ones(1, 2, dtype=torch.bool)})) == begun


def test_a_known_part_that_is_no_item_is_refused():
    with pytest.raises(UsageError, match="'xyz': not a word"):
        items(a_model(), known="xyz")


def test_options_reach_the_family():
    assert len(set(items(a_model(), temperature=1e-6))) == 1


# --- scoring --------------------------------------------------------------------------------------


def test_scores_keep_the_order_of_the_items_and_name_what_cannot_be_scored():
    model = a_model()
    mixed = ["abc", "no", "a", "bb", "", "c"] * 3
    scored = model.log_density(mixed, batch_size=4)
    for item, value in zip(mixed, scored, strict=True):
        if isinstance(model.encoder.encode(item), Invalid):
            assert math.isnan(value.log_density)
            assert value.kind is None
            assert "not a word" in value.error
        else:
            assert value.error is None
            assert value.log_density == pytest.approx(model.log_density([item])[0].log_density, abs=1e-5)


@every_toy
def test_the_scores_of_all_items_are_a_distribution(toy):
    scored = a_model(toy).log_density(every_item(toy))
    assert sum(math.exp(value.log_density) for value in scored) == pytest.approx(1, abs=1e-5)


def test_nothing_to_score_is_no_score():
    assert a_model().log_density([]) == []


# --- conditions -----------------------------------------------------------------------------------


def test_a_condition_acts_on_draws_and_scores_alike():
    model = a_model(conditions=["weight"])
    drawn = list(model.sample(60, seed=4, condition={"weight": 5.0}))
    assert [d.item for d in drawn] != items(model)
    words = [d.item for d in drawn]
    for condition in ({"weight": 5.0}, {"weight": [5.0] * 60}):
        scored = model.log_density(words, condition=condition, batch_size=13)
        assert [d.log_density for d in drawn] == pytest.approx([s.log_density for s in scored], abs=1e-5)


def test_each_item_is_scored_under_its_own_condition():
    model = a_model(conditions=["weight"])
    words, weights = ["abc", "a", "b", "ab"], np.array([1.0, np.nan, 3.0, 4.0])
    together = model.log_density(words, condition={"weight": weights})
    alone = [model.log_density([w], condition={"weight": [x]})[0] for w, x in zip(words, weights, strict=True)]
    assert [v.log_density for v in together] == pytest.approx([v.log_density for v in alone], abs=1e-5)


def test_an_absent_condition_of_an_item_is_one_that_is_not_given():
    model = a_model(conditions=["weight"])
    absent, given, nothing = (
        [s.log_density for s in model.log_density(["abc", "a"], condition=condition)]
        for condition in ({"weight": [math.nan, math.nan]}, {"weight": [1.0, 1.0]}, None)
    )
    assert absent == nothing != given


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nobody_can_ask_for_a_number_that_is_none(value):
    with pytest.raises(UsageError, match=f"the condition weight takes a finite number, not '{value}'"):
        items(a_model(conditions=["weight"]), condition={"weight": value})


def test_an_unknown_condition_is_refused():
    with pytest.raises(UsageError, match="no condition colour; it has weight"):
        items(a_model(conditions=["weight"]), condition={"colour": 1})


@pytest.mark.parametrize("kind", Density)
def test_units_are_taken_out_of_densities_alone(kind, monkeypatch):
    model = GenerativeModel("record", "vae", Part("transformer", {"width": 8, "layers": 1, "heads": 1}))
    model.statistics = Statistics(moments={"height": Moments(4.0, (180.0,), (4 * 10.0**2,))})
    model.use(model.build())
    answer = LogDensity(torch.tensor([-1.0]), kind, torch.tensor([3]))
    monkeypatch.setattr(model.family, "log_density", lambda *args, **options: answer)
    (scored,) = model.log_density([(0, 1, 175.0)])
    expected = -1 - math.log(10) if kind >= Density.ESTIMATE else -1
    assert scored.log_density == pytest.approx(expected)


# --- files ----------------------------------------------------------------------------------------


@every_toy
def test_a_loaded_model_is_the_saved_one(tmp_path, toy):
    model = a_model(toy, conditions=["weight"])
    model.info = {"title": "words"}
    model.save(tmp_path / "model")
    again = GenerativeModel.load(tmp_path / "model")
    assert items(again) == items(model)
    assert (again.config, again.conditions, again.statistics) == (model.config, model.conditions, model.statistics)
    assert again.info == model.info
    assert not again.family.training
    for name, tensor in model.family.state_dict().items():
        assert torch.equal(again.family.state_dict()[name], tensor)


def test_half_precision_is_half_the_size_and_nearly_the_same(tmp_path):
    model = a_model()
    model.save(tmp_path / "whole")
    model.save(tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.65 * sizes[0]
    again = GenerativeModel.load(tmp_path / "half")
    assert {tensor.dtype for tensor in again.family.state_dict().values()} == {torch.float32}
    scores = [[s.log_density for s in m.log_density(["a", "abc"])] for m in (model, again)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


def test_the_keys_of_the_training_items_travel_with_the_model(tmp_path):
    model = a_model()
    with pytest.raises(UsageError, match="no keys"):
        model.is_novel("a")
    model.keys["words"] = BloomFilter.of([model.domain.key("a")], expected=1)
    model.save(tmp_path / "model")
    again = GenerativeModel.load(tmp_path / "model")
    assert not again.is_novel("a")
    assert again.is_novel("abc")
    assert again.keys["words"].false_positive_rate == model.keys["words"].false_positive_rate


def test_weights_of_another_shape_do_not_fit(tmp_path):
    model = a_model()
    other = GenerativeModel("tokens", backbone=Part("recurrent", {"width": 16}))
    other.use(other.build())
    model._family = other.family
    model.save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="do not fit"):
        GenerativeModel.load(tmp_path / "model")


def test_a_model_without_weights_says_so():
    with pytest.raises(UsageError, match="fit it, or load one"):
        next(GenerativeModel("tokens").sample(1))


def test_fresh_weights_follow_their_seed_alone():
    model = GenerativeModel("tokens", backbone=SMALL)
    first = model.build(seed=3).state_dict()
    torch.rand(5)
    again, other = model.build(seed=3).state_dict(), model.build(seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_every_setting_is_written_out():
    assert GenerativeModel("tokens", backbone=SMALL).config.backbone.settings["cell"] == "gru"


def test_a_space_that_the_family_cannot_model_is_one_clear_line():
    with pytest.raises(UsageError, match=r"flow over points: .*matching"):
        GenerativeModel("points", Part("flow", {"variant": "coupling"})).build()


def test_a_model_of_some_fields_draws_them_of_an_item_that_is_given():
    model = GenerativeModel("points", Part("conditional", {"given": ["types"], "rest_settings": {"steps": 2}}))
    model.build()
    water = (("O", "H", "H"), ((0.0, 0.0, 0.5), (1.0, 0.0, -0.25), (-1.0, 0.0, -0.25)))
    drawn = model.sample_batch(3, known=water, seed=0).fields
    assert drawn["types"].tolist() == [[2, 0, 0]] * 3
    assert float((drawn["places"][0] - drawn["places"][1]).abs().max()) > 0.01
    with pytest.raises(UsageError, match="the known part"):
        model.sample_batch(3, known=(("X",), ((0.0, 0.0, 0.0),)), seed=0)
