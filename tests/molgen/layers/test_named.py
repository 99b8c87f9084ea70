"""Modules under the names of fields and conditions, which may be any text."""

import pytest
import torch
from torch import nn

from molgen import registry
from molgen.backbone import CausalBackbone
from molgen.batch import Batch, Partial
from molgen.layers.named import NamedModules, NamedParameters, accept_old_names, module_key
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Real
from molgen.testing.fixtures import BackboneTrial, FamilyTrial, tiny_config
from molgen.testing.spaces import Case

AWKWARD = ["type", "items", "float", "forward", "y.1", "pH=7.4 logD", "training", "", "name:x", "%2E", "a%", "_keys"]
LENGTH = Axis("to.size", 3, minimum=1)
FIELDS = {
    "type": Categorical((LENGTH,), classes=2),
    "y.1": Categorical((LENGTH,), classes=2),
    "items": Real((LENGTH,), levels=2),
    "float": Categorical((LENGTH,), classes=3),
}
CONDITION = {name: Real() for name in ("forward", "pH=7.4 logD", "get.1", "values")} | {"keys": Categorical(classes=2)}


def test_every_name_finds_its_module_and_parameter():
    modules = NamedModules({name: nn.Linear(1, number + 1) for number, name in enumerate(AWKWARD)})
    parameters = NamedParameters({name: nn.Parameter(torch.tensor(1.0 * n)) for n, name in enumerate(AWKWARD)})
    assert [modules[name].out_features for name in AWKWARD] == list(range(1, 1 + len(AWKWARD)))
    assert [parameters[name].item() for name in AWKWARD] == list(range(len(AWKWARD)))
    assert [*modules] == modules.keys() == AWKWARD
    assert len({module_key(name) for name in AWKWARD}) == len(AWKWARD)
    assert len(list(modules.parameters())) == 2 * len(AWKWARD)
    assert "y.1" in modules
    assert "y" not in modules


def test_a_state_with_plain_keys_loads():
    """As it was written by `nn.ModuleDict`, or where another version of torch has other attributes."""
    made = nn.ModuleDict(
        {"a": nn.Linear(1, 2), "pH=7.4 logD".replace(".", ","): nn.Linear(1, 2), "50%": nn.Linear(1, 2)}
    )
    named = NamedModules({name: nn.Linear(1, 2) for name in made})
    assert named.state_dict().keys() == made.state_dict().keys()
    other = NamedModules({"names": nn.Linear(1, 2), "type": nn.Linear(1, 2)})
    state = other.state_dict()
    names = {"name:names": "names", "names": "name:names", "name:type": "type"}
    other.load_state_dict({f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": t for key, t in state.items()})


def test_old_names_of_attributes_load():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.scale = nn.Linear(1, 1), nn.Parameter(torch.ones(()))
            accept_old_names(self, {"query": "ask", "scale": "size"})

    whole = nn.ModuleList([Part()])
    state = {"0.ask.weight": torch.full((1, 1), 3.0), "0.ask.bias": torch.zeros(1), "0.size": torch.tensor(2.0)}
    whole.load_state_dict(state)
    assert float(whole[0].query.weight.detach()) == 3
    assert float(whole[0].scale.detach()) == 2
    whole.load_state_dict(whole.state_dict())


def asked(rows):
    fields = {n: torch.zeros(rows) if isinstance(f, Real) else torch.zeros(rows).long() for n, f in CONDITION.items()}
    return Partial(Batch(fields, {}), {name: torch.ones(rows, dtype=torch.bool) for name in CONDITION})


@pytest.mark.parametrize("name", registry.names("family"))
def test_every_family_takes_any_names(name):
    cls = registry.get("family", name)
    trial = FamilyTrial(cls, tiny_config(cls), Case.of("awkward", FIELDS))
    family, rows = trial.family(CONDITION), len(trial.batch)
    assert torch.isfinite(family.loss(trial.batch, asked(rows), trial.rng).total).all()
    drawn = family.sample(2, asked(2), Rng(0, range(2))).batch
    assert drawn.fields.keys() == FIELDS.keys()
    trial.family(CONDITION, seed=1).load_state_dict(family.state_dict())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", registry.names("backbone"))
def test_every_network_takes_any_names(name, causal):
    cls = registry.get("backbone", name)
    if not cls.causal and causal:
        pytest.skip("runs all elements at once only")
    trial = BackboneTrial(cls, tiny_config(cls), FIELDS, causal)
    network = trial.network(CONDITION)
    assert isinstance(network, CausalBackbone) == causal
    state = network.state_dict()
    trial.network(CONDITION, seed=1).load_state_dict(state)
