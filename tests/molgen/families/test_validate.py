"""What the held-out loss of each family is, and in which unit."""

import pytest
import torch
from support.toys import Choices, Picture, Record, Tokens, samples_of

from molgen import registry
from molgen.backbone import make_build
from molgen.batch import collate
from molgen.seeding import Rng

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
