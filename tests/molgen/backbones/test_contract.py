"""What every network does for families, whatever it is made of."""

import pytest
import torch

from molgen import registry
from molgen.backbone import Backbone, Head
from molgen.ordering import batch_to_tokens
from molgen.testing.checks import Skipped
from molgen.testing.fixtures import WIDTH, BackboneTrial, tiny_config
from molgen.testing.spaces import SPACES

NETWORKS = [
    pytest.param(name, causal, space, id=f"{name} {'causal' if causal else 'at once'} {space}")
    for name in registry.names("backbone")
    for causal in (False, True)
    for space in ("words", "bitmap", "graph", "record")
]


@pytest.mark.parametrize(("name", "causal", "space"), NETWORKS)
def test_outputs_start_from_the_bias_that_is_set(name, causal, space):
    """With the weights of the last layer at zero the output is the bias, at every place that exists."""
    cls = registry.get("backbone", name)
    trial = BackboneTrial(cls, tiny_config(cls), SPACES[space], causal)
    try:
        network = trial.network(None)
    except (Skipped, ValueError) as reason:
        pytest.skip(str(reason))
    given = {field: torch.arange(1.0, WIDTH) + number for number, field in enumerate(trial.heads)}
    with torch.no_grad():
        for field, values in given.items():
            network.heads[field].weight.zero_()
            network.output_bias(field)[:, -1] = 7
            network.set_output_bias(field, values)
        batch = batch_to_tokens(trial.space, trial.batch) if causal else trial.batch
        outputs = network(batch, None, None)
    for field, values in given.items():
        expected = torch.tensor([*values.tolist(), 7.0], dtype=torch.float64)
        found = outputs[field].flatten(0, -2).unique(dim=0)
        assert {tuple(row) for row in found.tolist()} <= {tuple(expected.tolist()), (0.0,) * WIDTH}
        assert tuple(expected.tolist()) in {tuple(row) for row in found.tolist()}


def test_a_network_without_an_output_bias_leaves_the_start_out():
    class Constant(Backbone):
        layouts = frozenset()

        def __init__(self):
            torch.nn.Module.__init__(self)
            self.outputs = {"x": Head(2)}

        def forward(self, batch, time, condition):
            return {"x": torch.zeros(len(batch), 2)}

    assert Constant().output_bias("x") is None
    Constant().set_output_bias("x", torch.ones(2))
