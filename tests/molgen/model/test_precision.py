"""Networks that multiply in 16 bits draw and score as those of 32 bits do, up to their rounding."""

import math

import numpy as np
import pytest
import torch
from support.models import memorising_model
from support.toys import Graph, Points, Tokens

from molgen import registry
from molgen.config import Part
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.model.generative_model import GenerativeModel

FAMILIES = ("autoregressive", "vae", "diffusion", "flow", "gan")


def model_of(space, family):
    torch.manual_seed(0)
    model = GenerativeModel(space, Part(family, registry.get("family", family).molgen_tiny))
    model.use(model.build())
    return model


@pytest.mark.parametrize("space", [Tokens, Graph, Points], ids=lambda space: space.__name__)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_draws_and_scores_in_16_bits(space, family):
    model = model_of(space, family)
    samples = [model.encoder.encode(item) for item in model.encoder.examples()]
    exact = [one.log_density for one in model.log_density_of(samples)]
    model.precision = "bf16"
    rounded = [one.log_density for one in model.log_density_of(samples)]
    assert np.allclose(rounded, exact, atol=0.2, rtol=0.05)
    assert len(list(model.sample(4, seed=0))) == 4
    model.precision = "float32"
    assert [one.log_density for one in model.log_density_of(samples)] == exact


@pytest.mark.parametrize("family", ["diffusion", "flow", "gan"])
def test_numbers_keep_their_digits(family):
    model = model_of(Points, family)
    model.precision = "bf16"
    places = torch.cat([torch.as_tensor(one.sample["places"]).flatten() for one in model.sample(4, seed=0)])
    assert (places != places.bfloat16().float()).double().mean() > 0.9


def test_draws_are_of_the_network_in_16_bits_and_so_are_their_densities():
    model = GenerativeModel.load(memorising_model())
    exact = {one.index: one for one in model.sample(64, seed=0)}
    model.precision = "bf16"
    drawn = [one for one in model.sample(64, seed=0) if not isinstance(one.item, Invalid)]
    scored = model.log_density_of([one.sample for one in drawn])
    for one, own in zip(drawn, scored, strict=True):
        assert math.isclose(one.log_density, own.log_density, abs_tol=0.05)
    same = [one for one in drawn if one.item == exact[one.index].item]
    assert len(same) > len(drawn) / 2
    assert any(one.log_density != exact[one.index].log_density for one in same)


def test_a_precision_that_is_none_is_named():
    model = GenerativeModel.load(memorising_model())
    model.precision = "bf8"
    with pytest.raises(UsageError, match="no precision is named 'bf8'; known: float32, bf16"):
        next(model.sample(1))
