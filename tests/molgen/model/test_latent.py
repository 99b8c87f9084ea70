"""The latent space of a model: encode, decode, reconstruct and interpolate items."""

import numpy as np
import pytest
import torch
from support.autoencoders import memorising_autoencoder
from support.models import memorising_model
from support.toys import Record, Tokens, register

from molgen.config import Part
from molgen.data.conditions import Conditions
from molgen.data.statistics import Moments
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.model.generative_model import GenerativeModel
from molgen.model.latent import spherical

VAE = Part("vae", {"slots": 3, "channels": 2})
SMALL = Part("transformer", {"width": 12, "layers": 1, "heads": 2})
WORDS = ["a", "ab", "cba", "bb", "abc"]


@pytest.fixture(autouse=True)
def _toys(fake_distribution):
    register(fake_distribution)


def a_model(toy=Tokens, conditions=(), **settings):
    family = Part("vae", {**VAE.settings, **settings})
    model = GenerativeModel(toy.__name__.lower(), family, SMALL, conditions)
    model.conditions = Conditions(tuple(conditions), (2.0,) * len(conditions), (0.5,) * len(conditions))
    built = model.build(seed=1)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.use(built)
    return model


def test_an_estimated_density_is_of_the_item_wherever_it_stands():
    model = a_model()
    scored = [value.log_density for value in model.log_density([*WORDS, *WORDS[::-1]], batch_size=3)]
    assert scored[5:] == pytest.approx(scored[4::-1], abs=1e-4)
    assert scored[:5] == pytest.approx([model.log_density([word])[0].log_density for word in WORDS], abs=1e-4)
    again = [value.log_density for value in model.log_density(WORDS, seed=1)]
    assert again != pytest.approx(scored[:5], abs=1e-3)


def test_latents_are_rows_of_numbers_in_the_order_of_the_items():
    model = a_model()
    latents = model.encode(WORDS)
    assert latents.shape == (5, 6) == (5, model.latent_width)
    assert latents.dtype == np.float32
    alone = np.concatenate([model.encode([word]) for word in WORDS])
    np.testing.assert_allclose(latents, alone, atol=1e-5)
    np.testing.assert_allclose(model.encode(WORDS, batch_size=2), latents, atol=1e-5)


def test_with_a_seed_latents_are_draws_that_follow_their_row():
    model = a_model()
    drawn = model.encode(WORDS, seed=3)
    np.testing.assert_allclose(model.encode(WORDS, seed=3, batch_size=2), drawn, atol=1e-5)
    assert not np.allclose(drawn, model.encode(WORDS), atol=1e-2)
    assert not np.allclose(drawn, model.encode(WORDS, seed=4), atol=1e-2)


def test_an_item_without_a_latent_keeps_its_place():
    model = a_model()
    latents = model.encode(["a", "xyz", "ab"])
    assert np.isnan(latents).all(1).tolist() == [False, True, False]
    back = model.decode(latents)
    assert isinstance(back[1], Invalid)
    assert back[0] == model.decode(latents[:1])[0]
    reasons = model.reconstruct(["a", "xyz"])
    assert "not a word" in reasons[1].reason


def test_decoding_is_the_same_in_batches_of_any_size_and_drawn_with_a_seed():
    model = a_model()
    latents = model.encode(WORDS)
    assert model.decode(latents, batch_size=2) == model.decode(latents)
    drawn = model.decode(latents.repeat(20, axis=0), seed=1)
    assert model.decode(latents.repeat(20, axis=0), seed=1, batch_size=7) == drawn
    assert len(set(drawn)) > len(set(model.decode(latents)))


def test_sizes_may_be_asked_for():
    model = a_model()
    latents = model.encode(WORDS)
    assert {len(word) for word in model.decode(latents, seed=0, sizes={"length": 2})} == {2}
    assert [len(word) for word in model.decode(latents, sizes={"length": [1, 2, 3, 2, 1]})] == [1, 2, 3, 2, 1]


def test_latents_of_another_shape_are_refused():
    with pytest.raises(UsageError, match=r"rows of 6 numbers, not of the shape \(5, 4\)"):
        a_model().decode(np.zeros((5, 4)))


def test_conditions_go_to_both_ways():
    model = a_model(conditions=("height",))
    low, high = ({"height": value} for value in (1.0, 3.0))
    assert not np.allclose(model.encode(WORDS, condition=low), model.encode(WORDS, condition=high), atol=1e-3)
    each = model.encode(WORDS, condition={"height": [1.0, 3.0, 1.0, 3.0, 1.0]})
    np.testing.assert_allclose(each[::2], model.encode(WORDS, condition=low)[::2], atol=1e-5)
    latents = model.encode(WORDS, condition=low).repeat(30, axis=0)
    assert model.decode(latents, condition=low, seed=0) != model.decode(latents, condition=high, seed=0)
    with pytest.raises(UsageError, match="no condition weight"):
        model.encode(WORDS, condition={"weight": 1})


def test_numbers_come_back_in_their_own_units():
    model = a_model(Record)
    model.statistics.moments["height"] = Moments.from_sums(4.0, 4 * 180.0, 4 * (180.0**2 + 9.0))
    heights = [item[2] for item in model.decode(model.encode([(0, 1, 175.0), (2, 0, 190.0)]))]
    assert all(100 < height < 260 for height in heights)
    np.testing.assert_allclose(model.encode([(0, 1, 175.0)]), model.encode([(0, 1, 175.0)]))


def test_what_was_learned_by_heart_comes_back():
    model = GenerativeModel.load(memorising_autoencoder())
    items = ["CCO", "c1ccccc1", "CC#N", "CC(=O)O"]
    assert model.reconstruct(items) == items


def test_the_way_from_one_item_to_another_begins_and_ends_with_them():
    model = GenerativeModel.load(memorising_autoencoder())
    way = model.interpolate("CCO", "CC#N", 7)
    assert len(way) == 7
    assert (way[0], way[-1]) == ("CCO", "CC#N")
    assert model.interpolate("CCO", "CCO", 3) == ["CCO"] * 3
    with pytest.raises(UsageError, match="at least 2 steps"):
        model.interpolate("CCO", "CC#N", 1)
    with pytest.raises(UsageError, match="'nonsense'"):
        model.interpolate("CCO", "nonsense", 3)


def test_items_come_back_of_latents_as_large_as_they_are():
    model = GenerativeModel("points", Part("vae", {"channels": 2, "decoder": "points"}))
    model.use(model.build(seed=1))
    one, two, three = model.encoder.examples()
    items = [three, (("X",), ((0.0, 0.0, 0.0),)), one, two]
    back = model.reconstruct(items, batch_size=2)
    assert isinstance(back[1], Invalid)
    assert [len(back[row][0]) for row in (0, 2, 3)] == [3, 1, 2]
    alone = model.reconstruct([two])[0]
    np.testing.assert_allclose(back[3][1], alone[1], atol=1e-5)


def test_a_model_without_a_latent_space_says_so():
    model = GenerativeModel.load(memorising_model())
    for call in (lambda: model.encode(["CCO"]), lambda: model.reconstruct(["CCO"]), lambda: model.latent_width):
        with pytest.raises(UsageError, match="the family autoregressive has no latent space"):
            call()


# --- the great circle -------------------------------------------------------------------------------


def test_the_way_turns_evenly_and_keeps_its_length():
    first, last = np.array([2.0, 0, 0]), np.array([0.0, 0, 2])
    way = spherical(first, last, np.array([0, 1 / 3, 0.5, 1]))
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 2, rtol=1e-6)
    np.testing.assert_allclose(way[[0, -1]], [first, last], atol=1e-6)
    np.testing.assert_allclose(way[2], [2**0.5, 0, 2**0.5], atol=1e-6)
    assert np.degrees(np.arccos(way[1] @ first / 4)) == pytest.approx(30, abs=1e-4)


def test_lengths_change_evenly():
    way = spherical(np.array([1.0, 0]), np.array([0, 3.0]), np.linspace(0, 1, 5))
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), [1, 1.5, 2, 2.5, 3], rtol=1e-6)


@pytest.mark.parametrize(("first", "last"), [([1.0, 0], [2.0, 0]), ([0.0, 0], [1.0, 1]), ([1.0, 0], [-1.0, 0])])
def test_without_a_great_circle_the_way_is_straight(first, last):
    way = spherical(np.array(first), np.array(last), np.array([0, 0.25, 1]))
    np.testing.assert_allclose(way, [first, 0.75 * np.array(first) + 0.25 * np.array(last), last], atol=1e-6)


def test_the_middle_of_two_draws_in_many_dimensions_is_as_long_as_a_draw():
    """The reason for the circle: the middle of the line is shorter than nearly all draws."""
    draws = np.random.default_rng(0).normal(size=(200, 64))
    lengths = np.linalg.norm(draws, axis=1)
    circle = [np.linalg.norm(spherical(a, b, np.array([0.5]))) for a, b in zip(draws[::2], draws[1::2], strict=True)]
    line = [np.linalg.norm((a + b) / 2) for a, b in zip(draws[::2], draws[1::2], strict=True)]
    assert lengths.min() < np.mean(circle) < lengths.max()
    assert np.mean(line) < lengths.min()
