"""The recurrent network along the walk reads no place behind the end of a row in training, to the same effect."""

import pytest
import torch
from support.orderings import CONDITION, NETWORKS, asked, words
from support.toys import Graph, samples_of

from molgen.backbone import Head, make_build
from molgen.backbones.recurrent import causal
from molgen.batch import Batch, collate
from molgen.ordering import batch_to_tokens


def a_batch_of(space):
    if "x" not in space:
        return collate(space, samples_of(Graph))
    sizes = torch.tensor([4, 0, 1, 2, 1])
    return Batch({"x": torch.ones(5, 4, dtype=torch.long) * (torch.arange(4) < sizes[:, None])}, {"n": sizes})


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("space", [words(0, 4), Graph().space], ids=["words", "graphs"])
@pytest.mark.parametrize("condition", [None, CONDITION], ids=["plain", "conditional"])
def test_rows_are_read_up_to_their_ends_in_training(cell, space, condition, monkeypatch):
    torch.manual_seed(0)
    heads = {name: Head(3, axes=field.axes) for name, field in space.items()}
    network = make_build(*NETWORKS[cell], condition)(space, heads, causal=True).double()
    made = batch_to_tokens(space, a_batch_of(space))
    given = asked(len(made.ids)) if condition else None
    read = []
    monkeypatch.setattr(causal, "pack_padded_sequence", counted(causal.pack_padded_sequence, read))
    found = {}
    for training in (True, False):
        outputs = network.train(training)(made, None, given)
        network.zero_grad()
        sum(
            (outputs[name] * made.mask[:, steps, None]).square().sum() for name, steps in made.ordering.steps.items()
        ).backward()
        found[training] = outputs, {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert len(read) == 1
    for name, steps in made.ordering.steps.items():
        torch.testing.assert_close(*(found[training][0][name][made.mask[:, steps]] for training in found))
    torch.testing.assert_close(found[True][1], found[False][1])


def counted(function, calls):
    def wrapped(*args, **options):
        calls.append(args)
        return function(*args, **options)

    return wrapped
