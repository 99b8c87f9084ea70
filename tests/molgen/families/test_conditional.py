"""Some fields given the others: the same guarantees, with the given ones as a known part."""

import pytest
import torch

from molgen.batch import Partial, field_mask
from molgen.errors import UnsupportedSpace
from molgen.families.conditional import Conditional, ConditionalConfig
from molgen.family import Density
from molgen.seeding import Rng
from molgen.testing import SPACES, Case
from molgen.testing.fixtures import FamilyTrial

GRAPH = ("types", "bonds")


def trial(rest="diffusion", given=GRAPH, **settings):
    return FamilyTrial(Conditional, ConditionalConfig(given, rest, settings), Case.of("molecule", SPACES["molecule"]))


def known(own, names=GRAPH):
    return Partial(own.batch, {name: field_mask(own.space, own.batch, name) for name in names})


@pytest.mark.parametrize(
    ("rest", "settings"), [("diffusion", {"steps": 2}), ("flow", {"steps": 2}), ("autoregressive", {"bins": 4})]
)
def test_conformers_have_the_graph_that_is_given(rest, settings):
    own = trial(rest, **settings)
    family, rng = own.family(), own.rng
    assert bool(torch.isfinite(family.loss(own.batch, None, rng, phase=next(iter(family.phases))).total).all())
    drawn = family.sample(len(rng), rng=rng, known=known(own)).batch
    assert torch.equal(drawn.sizes["atom"], own.batch.sizes["atom"])
    for name in GRAPH:
        exists = field_mask(own.space, own.batch, name)
        assert torch.equal(drawn.fields[name][exists], own.batch.fields[name][exists])
    assert torch.isfinite(drawn.fields["places"]).all()


def test_what_is_given_changes_positions_and_their_density_which_is_exact():
    own = trial("flow", steps=2)
    family = own.family()
    other = dict(own.batch.fields)
    other["types"] = (other["types"] + 1) % 3 * field_mask(own.space, own.batch, "types")
    changed = own.batch.with_fields(other)
    first, second = (family.log_density(b, rng=own.rng) for b in (own.batch, changed))
    assert first.kind is Density.EXACT
    assert not torch.allclose(first.value, second.value)
    assert first.dims.tolist() == [3 * (n - 1) for n in own.batch.sizes["atom"].tolist()]


def test_without_what_is_given_it_says_what_it_needs():
    own = trial()
    family = own.family()
    with pytest.raises(ValueError, match=r"draws places of what is given, and needs all of types, bonds"):
        family.sample(2, rng=Rng(0, range(2)))
    with pytest.raises(ValueError, match="needs all of bonds"):
        family.sample(len(own.rng), rng=own.rng, known=known(own, ("types",)))


@pytest.mark.parametrize(
    ("given", "message"), [(("colour",), "no field 'colour'"), (("types", "bonds", "places"), "all fields are given")]
)
def test_what_cannot_be_given_is_refused(given, message):
    with pytest.raises(UnsupportedSpace, match=message):
        Conditional(SPACES["molecule"], None, ConditionalConfig(given))
