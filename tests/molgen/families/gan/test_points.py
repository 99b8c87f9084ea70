"""Generator and critic over points in space, with a small equivariant network.

Letters in shapes: B batch, N nodes, W width.
"""

from math import prod

import pytest
import torch
from torch import nn

from molgen.backbone import Backbone
from molgen.batch import Batch, field_mask
from molgen.families.gan import GAN
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.seeding import Rng
from molgen.space import Categorical, Layout, Real, is_pairwise, layout
from molgen.testing import SPACES, Case, family_checks, parametrize_with_checks
from molgen.testing.batches import moved, require_close, unordered_axes
from molgen.testing.fixtures import FamilyTrial, tiny_config

OVER_POINTS = [name for name, space in SPACES.items() if layout(space) is Layout.POINTS]


class Turning(Backbone):
    """Messages between points, made from their distances; heads that rotate are sums of their differences."""

    layouts = frozenset({Layout.POINTS})

    def __init__(self, inputs, outputs, config=None, condition=None, width=16):
        super().__init__(inputs, outputs, config, condition)
        self.vector = next(name for name, field in inputs.items() if isinstance(field, Real) and field.rotates)
        self.axis = inputs[self.vector].axes[0]
        plain = {name: nn.Linear(_numbers(f), width) for name, f in inputs.items() if name != self.vector}
        self.reads = nn.ModuleDict(plain)
        self.condition = ConditionEmbedding(condition, width) if condition else None
        self.distance, self.ends = nn.Linear(1, width), nn.Linear(width, width)
        self.message = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.node = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU())
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, 1 if head.rotates else head.width) for name, head in outputs.items()}
        )

    def forward(self, batch, time, condition):
        points, exists = batch.fields[self.vector], field_mask(self.inputs, batch, self.vector)
        pairs = exists[:, :, None] & exists[:, None] & ~torch.eye(exists.shape[1], dtype=torch.bool)
        apart = points[:, :, None] - points[:, None]
        nodes = points.new_zeros(*exists.shape, self.ends.in_features)
        edges = self.distance(apart.square().sum(-1, keepdim=True))
        if self.condition is not None:
            nodes = nodes + self.condition(condition, len(batch))[:, None]
        for name, read in self.reads.items():
            own = read(self._floats(name, batch.fields[name]))
            if is_pairwise(self.inputs[name]):
                edges = edges + own
            else:
                nodes = nodes + (own if self.inputs[name].axes else own[:, None])
        ends = self.ends(nodes)
        edges = self.message(edges + ends[:, :, None] + ends[:, None]) * pairs[..., None]
        nodes = self.node(torch.cat([nodes, edges.sum(2)], dim=-1)) * exists[..., None]
        return {name: self._head(name, nodes, edges, apart * pairs[..., None]) for name in self.outputs}

    def _head(self, name, nodes, edges, apart):
        head = self.outputs[name]
        if head.rotates:
            return (self.heads[name](edges + nodes[:, :, None]) * apart).sum(2)
        if not head.axes:
            return self.heads[name](nodes.sum(1))
        return self.heads[name](edges if len(head.axes) > 1 else nodes)

    def _floats(self, name, values):
        field = self.inputs[name]
        if isinstance(field, Categorical):
            return values
        return values.reshape(*values.shape[: values.ndim - len(field.channels)], -1)


def _numbers(field):
    return field.classes if isinstance(field, Categorical) else prod(field.channels)


@parametrize_with_checks(family_checks(GAN, backbone=Turning))
def test_the_guarantees_hold_over_points(check):
    check()


def a_gan(space):
    trial = FamilyTrial(GAN, tiny_config(GAN), Case.of(space, SPACES[space]), Turning)
    return trial.family(), trial.batch, trial


def turned(batch):
    """The same points, turned."""
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    return batch.with_fields({**batch.fields, "places": batch.fields["places"] @ turn})


@pytest.mark.parametrize("space", OVER_POINTS)
def test_the_critic_sees_neither_turns_nor_the_order_of_points(space):
    family, batch, trial = a_gan(space)
    value = family.log_density(batch).value
    require_close(value, family.log_density(turned(batch)).value, "the value of turned points", 1e-4)
    largest = int(batch.sizes["atom"].max())
    whole = batch.take((batch.sizes["atom"] == largest).nonzero().squeeze(1))
    order = {name: torch.arange(largest).roll(1) for name in unordered_axes(trial.space)}
    again = family.log_density(moved(trial.space, whole, order)).value
    require_close(family.log_density(whole).value, again, "the value in another order", 1e-4)


@pytest.mark.parametrize("space", OVER_POINTS)
def test_generated_points_turn_with_their_noise_and_have_one_centre(space):
    family, batch, trial = a_gan(space)
    generator = family.generator.network
    read = []
    generator.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    drawn = family.sample(len(batch), rng=trial.rng, sizes=dict(batch.sizes)).batch
    require_close(drawn.fields["places"].sum(1), torch.zeros(len(batch), 3), "the centre", 1e-5)
    noise = read[0]
    turned_noise = turned(Batch(noise.fields, noise.sizes))
    first, second = (generator(one, None, None)["places"] for one in (noise, turned_noise))
    require_close(turned(Batch({"places": first}, {})).fields["places"], second, "turned points", 1e-4)
    assert family.sample(3, rng=Rng(1, range(3))).batch.fields["places"].abs().sum() > 0
