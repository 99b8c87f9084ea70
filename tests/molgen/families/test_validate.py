"""What the held-out loss of each family is, and in which unit."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from support.toys import Choices, Picture, Record, Tokens, samples_of

from molgen import registry
from molgen.backbone import make_build
from molgen.batch import collate
from molgen.data.statistics import measure
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real

AXIS = Axis("n", 4)

NETWORKS = {
    "recurrent": {"width": 8, "layers": 1, "embedding": 4},
    "transformer": {"width": 8, "layers": 1, "heads": 1},
}


def a_family(name, toy, **settings):
    cls, network = registry.get("family", name), "recurrent" if name == "autoregressive" else "transformer"
    backbone = registry.get("backbone", network)
    torch.manual_seed(0)
    build = make_build(backbone, backbone.Config(**NETWORKS[network]), None)
    return cls(toy().space, build, cls.Config(**settings)).eval()


@pytest.mark.parametrize(
    ("name", "toy", "settings", "unit"),
    [
        ("autoregressive", Tokens, {}, "nats"),
        ("vae", Record, {}, "nats"),
        ("diffusion", Tokens, {}, "nats"),
        ("diffusion", Choices, {"weights": {"colour": 2.0}}, ""),
        ("diffusion", Record, {}, ""),
        ("diffusion", Picture, {}, ""),
        ("gan", Record, {}, "energy score"),
    ],
)
def test_the_unit_is_nats_where_the_loss_is_a_likelihood_or_a_bound(name, toy, settings, unit):
    assert a_family(name, toy, **settings).loss_unit == unit


def test_the_held_out_loss_of_a_vae_is_its_bound_whatever_the_weight_of_the_divergence():
    batch = collate(Tokens().space, samples_of(Tokens))
    rng = Rng(0, range(len(batch)))
    weights = [{"beta": 1.0, "free_bits": 0.0}, {"beta": 0.1, "free_bits": 0.0}, {"beta": 1.0, "free_bits": 300.0}]
    found = [a_family("vae", Tokens, **settings) for settings in weights]
    losses, held_out = ([getattr(f, call)(batch, None, rng).total for f in found] for call in ("loss", "validate"))
    torch.testing.assert_close(held_out[0], losses[0])
    for k in (1, 2):
        torch.testing.assert_close(held_out[k], held_out[0])
        assert not torch.allclose(losses[k], held_out[k])


class Named:
    """Fields called as parts of a loss are."""

    space: ClassVar = {
        "size": Real((AXIS,)),
        "loss": Categorical((AXIS,), classes=3),
        "kl": Real(),
        "level": Real(),
    }


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {}) for name in ("autoregressive", "vae", "diffusion", "flow", "gan")),
        ("energy", {"variant": "contrastive", "chains": 4, "chain_steps": 1}),
        ("energy", {"variant": "matching"}),
    ],
)
def test_fields_may_be_called_as_parts_of_a_loss(name, settings):
    samples = [
        {"size": np.ones(n), "loss": np.full(n, n % 3), "kl": np.float32(n), "level": np.float32(-n)} for n in (1, 2, 3)
    ]
    batch = collate(Named.space, samples)
    family, rng = a_family(name, Named, **settings), Rng(0, range(3))
    family.set_statistics(measure(Named.space, [batch]))
    for phase in family.phases:
        found = family.loss(batch, None, rng, phase=phase)
        assert "loss" not in found.parts
        if name == "diffusion":
            assert set(found.parts) == {"field size", "field loss", "kl", "level", "size"}
        if settings.get("variant") == "matching":
            assert set(found.parts) == {"field size", "field loss", "kl", "field level", "level", "size"}
        if name in ("diffusion", "flow") or settings.get("variant") == "matching":
            torch.testing.assert_close(sum(found.parts.values()), found.total, check_dtype=False)
