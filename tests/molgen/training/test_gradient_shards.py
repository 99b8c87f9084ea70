"""Gradients of the parts of a batch, added up, are those of the batch."""

import pytest
import torch
from support.toys import CATEGORICAL_TOYS, Grid, Tokens, samples_of

from molgen import registry
from molgen.backbone import make_build
from molgen.batch import collate
from molgen.errors import UsageError
from molgen.families.autoregressive import Autoregressive, AutoregressiveConfig
from molgen.family import Capability, Density
from molgen.seeding import Rng
from molgen.training.gradient_shards import GradientShards, Shard

SMALL = {
    "recurrent": {"width": 8, "layers": 2, "embedding": 4},
    "transformer": {"width": 8, "layers": 1, "heads": 1},
    "unet": {"width": 8, "levels": 1, "blocks": 1},
}


def a_family(toy, dropout=0.0, backbone="recurrent"):
    torch.manual_seed(0)
    cls = registry.get("backbone", backbone)
    build = make_build(cls, cls.Config(**SMALL[backbone], dropout=dropout), None)
    return Autoregressive(toy().space, build, AutoregressiveConfig()).double()


@pytest.mark.parametrize("toy", CATEGORICAL_TOYS)
@pytest.mark.parametrize("count", [2, 3])
def test_parts_add_up_to_the_whole(toy, count):
    family = a_family(toy)
    batch = collate(family.space, samples_of(toy)[:7])
    rng = Rng(0, range(len(batch)))
    loss = family.loss(batch, None, rng).total.mean()
    loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in family.named_parameters()}
    family.zero_grad()
    means = GradientShards(count, family).backward(family, "model", Shard(batch, None, rng, len(batch)))
    assert means["loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    for name, parameter in family.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-10, atol=1e-12)


def test_the_number_of_threads_is_given_back():
    family = a_family(Tokens)
    batch = collate(family.space, samples_of(Tokens)[:4])
    before = torch.get_num_threads()
    GradientShards(2, family).backward(family, "model", Shard(batch, None, Rng(0, range(4)), 4))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("backbone", SMALL)
def test_dropout_is_refused_because_threads_would_share_its_random_numbers(backbone):
    GradientShards(2, a_family(Tokens, backbone=backbone))
    with pytest.raises(UsageError, match="dropout"):
        GradientShards(2, a_family(Tokens, 0.5, backbone))


def test_a_loss_that_couples_the_items_of_a_batch_is_refused(monkeypatch):
    family = a_family(Tokens)
    monkeypatch.setattr(type(family), "capability", Capability(density=Density.CRITIC, coupled=True))
    with pytest.raises(UsageError, match="couples"):
        GradientShards(2, family)


def test_parts_have_like_numbers_of_elements_and_no_padding_of_others():
    family = a_family(Tokens)
    batch = collate(family.space, samples_of(Tokens, ["a", "b", "c", "ab", "abc", "cab"]))
    parts = Shard(batch, None, Rng(0, range(6)), 6).split(family.space, 2)
    assert [part.batch.sizes["length"].tolist() for part in parts] == [[1, 1, 1, 2], [3, 3]]
    assert [part.batch.fields["letters"].shape for part in parts] == [(4, 2), (2, 3)]
    assert [part.rng.items.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5]]


def test_rows_without_sizes_are_shared_out_evenly():
    family = a_family(Grid)
    batch = collate(family.space, samples_of(Grid)[:1] * 5)
    parts = Shard(batch, None, Rng(0, range(5)), 5).split(family.space, 2)
    assert [len(part.batch) for part in parts] == [2, 3]
    assert len(Shard(batch.take(slice(0, 1)), None, Rng(0, [0]), 1).split(family.space, 3)) == 1
