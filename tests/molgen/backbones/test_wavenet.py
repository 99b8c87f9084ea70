"""WaveNet: what its outputs depend on, that its queues change nothing, and what one step costs."""

import time

import pytest
import torch
from support.orderings import CONDITION, asked, slice_by_slice

from molgen.backbone import Head, make_build
from molgen.backbones.wavenet import WaveNet, WaveNetConfig
from molgen.batch import Batch
from molgen.errors import UnsupportedSpace
from molgen.ordering import TokenBatch, batch_to_tokens
from molgen.space import Axis, Categorical, Real

SOUND = {"code": Categorical((Axis("sample", 48, variable=False),), classes=8)}
#: The last four choices, and those 1, 2, 3 and 6 before: together 4 + 2 (1 + 3) = 12.
DEEP = WaveNetConfig(width=8, context=4, embedding=3, kernel=3, growth=3, levels=2)


def a_network(config=DEEP, space=SOUND, condition=None):
    torch.manual_seed(0)
    heads = {name: Head(4, field.axes) for name, field in space.items()}
    network = make_build(WaveNet, config, condition)(space, heads, causal=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.double().eval()


def choices(rows=1, count=48):
    return batch_to_tokens(SOUND, Batch({"code": torch.randint(8, (rows, count))}, {}))


@pytest.mark.parametrize(
    "config",
    [
        DEEP,
        WaveNetConfig(width=8, context=0, kernel=2, growth=2, levels=3, rounds=2),
        WaveNetConfig(width=8, context=9, embedding=2, levels=1),
    ],
    ids=str,
)
def test_an_output_depends_on_the_last_choices_and_no_others(config):
    network, made = a_network(config), choices()
    with torch.no_grad():
        before = network(made, None, None)["code"][0]
        reached = []
        for place in range(len(made.ordering)):
            ids = made.ids.clone()
            ids[0, place] = (ids[0, place] + 1) % 8
            after = network(TokenBatch(made.ordering, ids, made.mask), None, None)["code"][0]
            changed = (after != before).any(-1).nonzero()[:, 0]
            assert (changed > place).all()
            reached.append(max(changed.tolist(), default=place) - place)
    assert reached[0] == config.reach
    assert max(reached) == config.reach


def test_the_same_choices_mean_the_same_wherever_they_are():
    network, made = a_network(), choices()
    ids = made.ids.clone()
    ids[:, 24:] = ids[:, :24]
    with torch.no_grad():
        found = network(TokenBatch(made.ordering, ids, made.mask), None, None)["code"]
    reach = DEEP.reach
    torch.testing.assert_close(found[:, 24 + reach :], found[:, reach:24], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_queues_give_what_all_slices_at_once_give(kind, tolerance):
    network = a_network(WaveNetConfig(width=16, levels=4), condition=CONDITION).to(kind)
    made, condition = choices(3), asked(3)
    whole, steps = network(made, None, condition), slice_by_slice(network, made, condition)
    torch.testing.assert_close(steps["code"], whole["code"], rtol=tolerance, atol=tolerance)


def test_a_step_costs_the_same_at_the_end_as_at_the_beginning():
    network, made = a_network(WaveNetConfig(width=8, levels=5)).float(), choices(4, 48)
    state, before, seconds = network.start(None, 4), None, []
    with torch.no_grad():
        for _ in range(12):
            for t, step in enumerate(made.ordering.slices):
                start = time.process_time()
                _, state = network.step(step, state, before)
                seconds.append(time.process_time() - start)
                before = (step, made.ids[:, t])
    first, last = sorted(seconds[48:144]), sorted(seconds[-96:])
    assert last[48] < 2 * first[48]


def test_it_reads_sequences_of_choices_causally_and_nothing_else():
    grid = {"x": Categorical((Axis("row", 3, variable=False), Axis("column", 3, variable=False)), classes=2)}
    build = make_build(WaveNet, DEEP, None)
    with pytest.raises(ValueError, match="reads sequence, not a grid"):
        build(grid, {"x": Head(2, grid["x"].axes)}, causal=True)
    with pytest.raises(ValueError, match="runs causally only"):
        build(SOUND, {"code": Head(2, SOUND["code"].axes)})
    numbers = {"x": Real((Axis("n", 3),))}
    with pytest.raises(UnsupportedSpace, match="Real field without levels"):
        build(numbers, {"x": Head(2, numbers["x"].axes)}, causal=True)


@pytest.mark.parametrize(
    "settings", [{"width": 0}, {"context": -1}, {"kernel": 1}, {"levels": 26}, {"dropout": 1.0}], ids=str
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        WaveNetConfig(**settings)
