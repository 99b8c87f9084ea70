"""Every network reads a condition over the axes of the sample at the places that it belongs to."""

import pytest
import torch
from support.pretend_device import pretend_device

from molgen import registry
from molgen.batch import Batch, Partial, collate
from molgen.ordering import batch_to_tokens
from molgen.space import Axis, Categorical, Real, layout
from molgen.testing.batches import in_float64, padded
from molgen.testing.checks import Skipped
from molgen.testing.fixtures import BackboneTrial, tiny_config
from molgen.testing.random_samples import draw_samples

PLACE, NODE, OTHER = Axis("place", 5), Axis("node", 5, ordered=False), Axis("frame", 3)
SPACES = {
    "sequence": {"x": Categorical((PLACE,), classes=3)},
    "grid": {"x": Categorical((Axis("row", 4), Axis("column", 3, variable=False)), classes=2)},
    "set": {"x": Categorical((NODE,), classes=3)},
    "graph": {"x": Categorical((NODE,), classes=2), "bond": Categorical((NODE, NODE), classes=2, symmetric=True)},
}


def conditions(axis, axes):
    """Over the first axis, over all, over one more that the sample lacks, over pairs, and over none of its axes."""
    return {
        "own": Real((axis,)),
        "class": Categorical(axes, classes=3),
        "every": Real(axes),
        "views": Real((OTHER, axis), channels=(2,)),
        "pairs": Real((axis, axis)),
        "elsewhere": Real((OTHER,)),
        "alone": Real(),
    }


def trials():
    for name in registry.names("backbone"):
        cls = registry.get("backbone", name)
        for causal in (False, True):
            for kind, space in SPACES.items():
                trial = BackboneTrial(cls, tiny_config(cls), space, causal)
                try:
                    cls.class_for(space, causal)
                    trial.network(None)
                except (Skipped, ValueError):
                    continue
                yield pytest.param(trial, id=f"{name} {'causal' if causal else 'at once'} {kind}")


every_trial = pytest.mark.parametrize("trial", [*trials()])


class Reader:
    """One network, its batch of full samples and a condition of which some is given."""

    def __init__(self, trial, names=None):
        self.trial, field = trial, trial.space["x"]
        self.axis = field.axes[0]
        every = conditions(self.axis, field.axes)
        self.space = {name: one for name, one in every.items() if names is None or name in names}
        self.network = trial.network(self.space)
        full = {axis.name: axis.maximum for axis in field.axes}
        samples = draw_samples(trial.space, 4, 0, full)[1:2] * 3
        self.batch = in_float64(collate(trial.space, samples))
        self.given = in_float64(collate(self.space, draw_samples(self.space, 6, 1, full)[1:2] * 3))

    def asked(self, given=True, turned=None, changed=None):
        """The condition, one field of it in the first row turned along the leading axis, or another number."""
        fields = dict(self.given.fields)
        masks = {n: torch.full(fields[n].shape[: 1 + len(f.axes)], given) for n, f in self.space.items()}
        for name in filter(None, (turned, changed)):
            fields[name] = fields[name].clone()
            places = [k for k, axis in enumerate(self.space[name].axes) if axis == self.axis]
            fields[name][0] = fields[name][0].roll(1, places[0]) if turned else fields[name][0] + 1
        return Partial(Batch(fields, self.given.sizes), masks)

    def outputs(self, condition, batch=None):
        batch = self.batch if batch is None else batch
        with torch.no_grad():
            if self.trial.causal:
                return self.network(batch_to_tokens(self.trial.space, batch), None, condition)
            return self.network(batch, None, condition)


@every_trial
@pytest.mark.parametrize("name", ["own", "every", "views", "pairs"])
def test_the_output_at_a_place_follows_the_condition_there(trial, name):
    """The mean over all places stays, so it is not what tells."""
    reader = Reader(trial, {name})
    before, after = reader.outputs(reader.asked()), reader.outputs(reader.asked(turned=name))
    effect = (before["x"] - after["x"]).abs()
    assert effect[0].flatten(1).amax(-1).min() > 1e-6
    assert effect[1:].max() < 1e-10


@every_trial
def test_other_conditions_are_read_by_their_mean(trial):
    reader = Reader(trial)
    for name in ("elsewhere", "alone"):
        before, after = reader.outputs(reader.asked()), reader.outputs(reader.asked(changed=name))
        assert (before["x"][0] - after["x"][0]).abs().max() > 1e-6
        assert (before["x"][1:] - after["x"][1:]).abs().max() < 1e-10


@every_trial
def test_what_is_not_given_is_as_none(trial):
    reader = Reader(trial)
    none, gaps = reader.outputs(None), reader.outputs(reader.asked(given=False))
    for name in none:
        torch.testing.assert_close(none[name], gaps[name], rtol=0, atol=1e-10)


@every_trial
def test_padding_of_condition_and_batch_changes_nothing(trial):
    reader = Reader(trial)
    sizes = {name: torch.full_like(size, 2) for name, size in reader.batch.sizes.items()}
    short = reader.batch.with_fields(reader.batch.fields)
    shape = [sizes[axis.name][0] if axis.variable else axis.maximum for axis in trial.space["x"].axes]
    cut = {n: t[(slice(None), *map(slice, shape if n == "x" else [2, 2]))] for n, t in short.fields.items()}
    batch = Batch(cut, sizes)
    names = {axis.name for axis in trial.space["x"].axes}
    given = Batch(reader.given.fields, {n: sizes[n] if n in names else s for n, s in reader.given.sizes.items()})
    masks = reader.asked().given
    first = reader.outputs(Partial(given, masks), batch)
    noise = {n: t + 1 if t.is_floating_point() else t for n, t in given.fields.items() if n != "elsewhere"}
    clean = {}
    for n, t in given.fields.items():
        outside = torch.ones(t.shape, dtype=torch.bool)
        inside = tuple(slice(2 if a.name in names and a.variable else None) for a in reader.space[n].axes)
        outside[(slice(None), *inside)] = False
        clean[n] = torch.where(outside, noise.get(n, t), t)
    second = reader.outputs(Partial(Batch(clean, given.sizes), masks), padded(trial.space, batch))
    for name, tensor in first.items():
        other = second[name]
        if not trial.causal and name != "pooled":
            other = other[tuple(slice(length) for length in tensor.shape)]
        elif trial.causal:
            other = other[:, : tensor.shape[1]]
            if layout(trial.space).value in ("grid", "graph"):
                continue
        torch.testing.assert_close(tensor, other, rtol=0, atol=1e-9)


@every_trial
def test_one_step_at_a_time_reads_the_same(trial):
    if not trial.causal:
        pytest.skip("reads all elements at once")
    reader = Reader(trial)
    network, made, condition = reader.network, batch_to_tokens(trial.space, reader.batch), reader.asked()
    whole = reader.outputs(condition)
    state, previous = network.start(condition, 3), None
    keep = torch.tensor([2, 0])
    state, ids = state.take(keep), made.ids[keep]
    found = {name: [] for name in trial.space}
    with torch.no_grad():
        for t, step in enumerate(made.ordering.slices):
            output, state = network.step(step, state, previous)
            found[step.field].append(output)
            previous = (step, ids[:, t])
    for name, outputs in found.items():
        torch.testing.assert_close(torch.stack(outputs, 1), whole[name][keep], rtol=0, atol=1e-9)


@every_trial
def test_everything_lies_where_the_inputs_are(trial):
    """On a device that refuses tensors of the CPU, network and conditions over axes give the same outputs."""
    reader = Reader(trial)
    condition = reader.asked()
    expected = reader.outputs(condition)
    with pretend_device() as device:
        reader.network.to(device)
        found = reader.outputs(condition.to(device), reader.batch.to(device))
        for name, output in found.items():
            assert output.device.type == device.type
            assert output.dtype == expected[name].dtype
            torch.testing.assert_close(output.cpu(), expected[name], rtol=0, atol=1e-8)
