"""Networks that break one guarantee each: the transformer, the recurrent one and a small equivariant one, changed."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from molgen.backbone import Backbone
from molgen.backbones.recurrent.causal import Recurrent, RecurrentState
from molgen.backbones.transformer.network import Transformer
from molgen.batch import field_mask
from molgen.domain import Config
from molgen.errors import UnsupportedSpace
from molgen.layers.condition_embedding import ConditionEmbedding
from molgen.layers.time_embedding import TimeEmbedding
from molgen.space import Categorical, Layout, Real
from molgen.testing.batches import asked_for


class Changed(Transformer):
    causal = False

    def forward(self, batch, time, condition):
        return {name: self.changed(out, batch) for name, out in super().forward(batch, time, condition).items()}


class OneHeadMore(Changed):
    def forward(self, batch, time, condition):
        outputs = Transformer.forward(self, batch, time, condition)
        return {**outputs, "more": outputs["pooled"]}


class SeesPadding(Changed):
    def changed(self, output, batch):
        return output + 0.1 * batch.fields["kind"].shape[1]


class SeesOtherRows(Changed):
    def changed(self, output, batch):
        return output + output.sum() / 10


class SeesPlaces(Changed):
    def changed(self, output, batch):
        return output if output.ndim == 2 else output + torch.arange(output.shape[1])[:, None]


class DislikesFloats(Changed):
    def changed(self, output, batch):
        return output * 1.1 if batch.fields["kind"].is_floating_point() else output


class IgnoresTime(Changed):
    def forward(self, batch, time, condition):
        return Transformer.forward(self, batch, None, condition)


class AbsentIsGiven(Changed):
    def forward(self, batch, time, condition):
        return Transformer.forward(self, batch, time, asked_for(len(batch)) if condition is None else condition)


class UnusedParameter(Changed):
    def __init__(self, *args):
        super().__init__(*args)
        self.spare = nn.Parameter(torch.zeros(2))

    def changed(self, output, batch):
        return output


class UnsavedNumber(Changed):
    def __init__(self, *args):
        super().__init__(*args)
        self.offset = float(torch.rand(()))

    def changed(self, output, batch):
        return output + self.offset


class TakesUndeclaredLayouts(Changed):
    layouts: ClassVar = frozenset({Layout.SET})

    @classmethod
    def make(cls, inputs, outputs, config, condition=None, causal=False):
        return Transformer(inputs, outputs, config, condition)


class MumblesWhatItRefuses(Changed):
    layouts: ClassVar = frozenset({Layout.SET})

    def __init__(self, *args):
        try:
            super().__init__(*args)
        except ValueError:
            raise ValueError("no") from None

    def changed(self, output, batch):
        return output


class RefusesAllSpaces(Changed):
    def __init__(self, *args):
        raise UnsupportedSpace("this network reads nothing at all")


BROKEN = {
    OneHeadMore: {"outputs_have_their_shape"},
    SeesPadding: {"padding_changes_nothing"},
    SeesOtherRows: {"rows_do_not_see_each_other"},
    SeesPlaces: {"outputs_move_with_unordered_elements"},
    DislikesFloats: {"classes_may_be_floats"},
    IgnoresTime: {"time_is_of_rows_or_fields"},
    AbsentIsGiven: {"conditions_may_have_gaps"},
    UnusedParameter: {"gradients_reach_every_parameter"},
    UnsavedNumber: {"weights_come_back"},
    TakesUndeclaredLayouts: {"foreign_layouts_are_refused"},
    MumblesWhatItRefuses: {"foreign_layouts_are_refused"},
    RefusesAllSpaces: {"takes_some_space"},
}


# --- in generation order ----------------------------------------------------------------------------


class NoNumbers(Recurrent):
    """In slices in which no row takes part."""

    def forward(self, batch, time, condition):
        outputs = super().forward(batch, time, condition)
        return {**outputs, "more": next(iter(outputs.values()))}


class OtherSteps(Recurrent):
    def step(self, slice, state, previous):
        output, state = super().step(slice, state, previous)
        return output * 1.01, state


@dataclass(frozen=True)
class Sorting(RecurrentState):
    def take(self, rows):
        return Sorting(**vars(super().take(rows.sort().values)))


class LosesOrder(Recurrent):
    def start(self, condition, rows):
        return Sorting(**vars(super().start(condition, rows)))

    def step(self, slice, state, previous):
        output, state = super().step(slice, state, previous)
        return output, Sorting(**vars(state))


class SeesItsOwnChoice(Recurrent):
    """What no step can do, so two checks see it."""

    def forward(self, batch, time, condition):
        outputs = super().forward(batch, time, condition)
        return {name: out + 0.1 * batch.ids[:, batch.ordering.steps[name], None] for name, out in outputs.items()}


class SeesNothing(Recurrent):
    def forward(self, batch, time, condition):
        return super().forward(replace(batch, ids=0 * batch.ids), time, condition)

    def step(self, slice, state, previous):
        return super().step(slice, state, None if previous is None else (previous[0], 0 * previous[1]))


class MeansOfRows(Recurrent):
    """A state that lost rows cannot know their mean, so two checks see it."""

    def forward(self, batch, time, condition):
        return {name: out + out.mean(0) for name, out in super().forward(batch, time, condition).items()}

    def step(self, slice, state, previous):
        output, state = super().step(slice, state, previous)
        return output + output.mean(0), state


class StartsAsIfGiven(Recurrent):
    def start(self, condition, rows):
        return super().start(asked_for(rows) if condition is None and self.condition else condition, rows)


class SpareParameter(Recurrent):
    def __init__(self, *args):
        super().__init__(*args)
        self.spare = nn.Parameter(torch.zeros(2))


BROKEN_CAUSAL = {
    NoNumbers: {"outputs_have_their_shape"},
    OtherSteps: {"slices_one_by_one_equal_all_at_once"},
    LosesOrder: {"a_state_can_lose_rows"},
    SeesItsOwnChoice: {"outputs_see_earlier_slices_only", "slices_one_by_one_equal_all_at_once"},
    SeesNothing: {"outputs_see_earlier_slices_only"},
    MeansOfRows: {"rows_do_not_see_each_other", "a_state_can_lose_rows"},
    StartsAsIfGiven: {"conditions_may_have_gaps"},
    SpareParameter: {"gradients_reach_every_parameter"},
}


# --- in space ---------------------------------------------------------------------------------------


class Turning(Backbone):
    """Points see the others by their distances, and move along the lines to them."""

    Config = Config
    layouts: ClassVar = frozenset({Layout.POINTS})

    def __init__(self, inputs, outputs, config, condition=None):
        super().__init__(inputs, outputs, config, condition)
        self.place = next(name for name, field in inputs.items() if isinstance(field, Real))
        self.kind = next(name for name, field in inputs.items() if isinstance(field, Categorical))
        self.embedding = nn.Linear(inputs[self.kind].classes, 8, bias=False)
        self.time, self.condition = TimeEmbedding(inputs, 8), ConditionEmbedding(condition, 8) if condition else None
        self.pull = nn.Linear(8, 1)
        self.heads = nn.ModuleDict({name: nn.Linear(8, h.width) for name, h in outputs.items() if not h.rotates})

    def forward(self, batch, time, condition):
        kinds, places = batch.fields[self.kind], batch.fields[self.place]
        exists = field_mask(self.inputs, batch, self.kind).to(places)[..., None]
        ones = nn.functional.one_hot(kinds, self.inputs[self.kind].classes) if kinds.ndim == 2 else kinds
        lines = places[:, :, None] - places[:, None]
        near = (-lines.square().sum(-1)).exp() * exists[:, None, :, 0]
        x = torch.tanh(near @ (self.embedding(ones.to(places)) * exists) + self.about(time, condition, len(kinds)))
        pooled = (x * exists).sum(1) / exists.sum(1)
        moved = (near[..., None] * lines * self.pull(x)[:, None]).sum(2) * exists
        outputs = {n: head(x) * exists if self.outputs[n].axes else head(pooled) for n, head in self.heads.items()}
        return {**outputs, self.place: self.direction(moved)}

    def about(self, time, condition, rows):
        found = self.time(time, rows)
        return (found if self.condition is None else found + self.condition(condition, rows))[:, None]

    def direction(self, moved):
        return moved


class DoesNotTurn(Turning):
    def direction(self, moved):
        return moved.abs()
