"""What every network guarantees that reads all elements at once, as one function for each guarantee.

Letters in shapes: B batch, W width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn.functional import one_hot

from molgen.backbone import Backbone
from molgen.batch import Batch, field_mask
from molgen.space import Categorical, Layout, Space, layout
from molgen.testing.batches import (
    asked_for,
    cropped,
    less_and_more_padding,
    moved,
    reordered,
    require_close,
    rotation,
    turned,
    unordered_axes,
)
from molgen.testing.checks import Skipped, holds, require
from molgen.testing.fixtures import POOLED, WIDTH, BackboneTrial, of_fields, times
from molgen.testing.spaces import SPACES

#: Rounding of float64.
ROUNDING = 1e-8
#: Less than this is no effect.
EFFECT = 1e-9

Outputs = Mapping[str, Tensor]


def outputs_have_their_shape(trial: BackboneTrial) -> None:
    """Each head has (B, *axes, W) finite numbers, one without axes (B, W)."""
    outputs = _read(trial, trial.network())
    require(set(outputs) == set(trial.heads), f"the outputs are {', '.join(outputs)}, not {', '.join(trial.heads)}")
    for name, head in trial.heads.items():
        places = trial.batch.fields[name].shape[1 : 1 + len(head.axes)] if name in trial.space else ()
        shape = (len(trial.batch), *places, WIDTH)
        require(outputs[name].shape == shape, f"{name} has the shape {tuple(outputs[name].shape)}, not {shape}")
        require(bool(torch.isfinite(outputs[name]).all()), f"{name} is not finite")


def _read(trial: BackboneTrial, network: Backbone, batch: Batch | None = None, rows: Tensor | None = None) -> Outputs:
    """The outputs for a batch, at a time and under a condition that go with the rows."""
    count = len(trial.batch)
    rows = torch.arange(count) if rows is None else rows
    batch = trial.batch if batch is None else batch
    with torch.no_grad():
        return network(batch, times(count)[rows], asked_for(count).take(rows))


def _require_alike(trial: BackboneTrial, first: Outputs, second: Outputs, batch: Batch, message: str) -> None:
    """Outputs over the places of a batch are the same, and so are those without places."""
    for name, tensor in first.items():
        other = second[name]
        if name in trial.space:
            exists = field_mask(trial.space, batch, name)
            inside = (slice(None), *(slice(length) for length in exists.shape[1:]))
            tensor, other = tensor[inside][exists], other[inside][exists]
        require_close(tensor, other, f"{name} {message}", ROUNDING)


def padding_changes_nothing(trial: BackboneTrial) -> None:
    """More padding leaves the outputs as they are."""
    network = trial.network()
    rows, less, more = less_and_more_padding(trial.space, trial.batch)
    first, second = (_read(trial, network, batch, rows) for batch in (less, more))
    _require_alike(trial, first, second, less, "with less and with more padding")


def rows_do_not_see_each_other(trial: BackboneTrial) -> None:
    """The outputs of a row are the same beside other rows."""
    network = trial.network()
    together = _read(trial, network)
    for rows in (torch.tensor([1]), torch.arange(len(trial.batch) - 1, -1, -1)):
        part = trial.batch.take(rows)
        alone = _read(trial, network, part, rows)
        expected = {name: tensor[rows] for name, tensor in together.items()}
        _require_alike(trial, expected, alone, part, "of a row beside others and without them")


def outputs_move_with_unordered_elements(trial: BackboneTrial) -> None:
    """Along unordered axes the outputs move with the elements, and pooled ones stay."""
    unordered = unordered_axes(trial.space)
    if not unordered:
        raise Skipped("all axes are ordered")
    network, row = trial.network(), torch.tensor([1])
    batch = cropped(trial.space, trial.batch.take(row))
    order = {name: _turned(_length(trial.space, batch, name)) for name in unordered}
    before = of_fields(trial.space, outputs := _read(trial, network, batch, row))
    expected = {name: reordered(field, before.fields[name], order) for name, field in trial.space.items()}
    after = _read(trial, network, moved(trial.space, batch, order), row)
    _require_alike(trial, {**expected, POOLED: outputs[POOLED]}, after, batch, "before and after elements are moved")


def _length(space: Space, batch: Batch, axis: str) -> int:
    name, place = next(
        (name, place) for name, field in space.items() for place, own in enumerate(field.axes) if own.name == axis
    )
    return batch.fields[name].shape[1 + place]


def _turned(length: int) -> Tensor:
    """All indices, each a place on."""
    return (torch.arange(length) + 1) % max(1, length)


def outputs_turn_with_space(trial: BackboneTrial) -> None:
    """Where vectors in space are turned, without a mirror, heads that rotate turn with them; all others stay."""
    turning = [name for name, head in trial.heads.items() if head.rotates]
    if not turning:
        raise Skipped("nothing rotates")
    network = trial.network()
    turn = rotation()
    before, after = _read(trial, network), _read(trial, network, turned(trial.space, trial.batch, turn))
    expected = {name: tensor @ turn.T if name in turning else tensor for name, tensor in before.items()}
    _require_alike(trial, expected, after, trial.batch, "before and after space is turned")


def classes_may_be_floats(trial: BackboneTrial) -> None:
    """One-hot floats of classes give what their ids give."""
    classes = {name: field for name, field in trial.space.items() if isinstance(field, Categorical)}
    if not classes:
        raise Skipped("no field has classes")
    network = trial.network()
    floats = dict(trial.batch.fields)
    for name, field in classes.items():
        exists = field_mask(trial.space, trial.batch, name)
        floats[name] = one_hot(floats[name], field.classes).double() * exists[..., None]
    relaxed = trial.batch.with_fields(floats)
    first, second = _read(trial, network), _read(trial, network, relaxed)
    _require_alike(trial, first, second, trial.batch, "from ids and from one-hot floats")


def time_is_of_rows_or_fields(trial: BackboneTrial) -> None:
    """A time for each row is the same as that time for each field; no time is time 0; time has an effect."""
    network, rows = trial.network(), len(trial.batch)
    with torch.no_grad():
        by_row = network(trial.batch, times(rows), None)
        by_field = network(trial.batch, dict.fromkeys(trial.space, times(rows)), None)
        at_zero = network(trial.batch, torch.zeros(rows, dtype=torch.float64), None)
        without = network(trial.batch, None, None)
    _require_alike(trial, by_row, by_field, trial.batch, "at times of rows and of fields")
    _require_alike(trial, at_zero, without, trial.batch, "at time 0 and without a time")
    require(_differ(by_row, at_zero), "time changes nothing")


def _differ(first: Outputs, second: Outputs) -> bool:
    return any(bool(((first[name] - second[name]).abs() > EFFECT).any()) for name in first)


def conditions_may_have_gaps(trial: BackboneTrial) -> None:
    """A condition that gives nothing is as none; what is given has an effect, on its own row only."""
    network, rows = trial.network(), len(trial.batch)
    some = torch.arange(rows) % 2 == 0
    with torch.no_grad():
        nothing, without, given, partly = (
            network(trial.batch, None, condition)
            for condition in (asked_for(rows, False), None, asked_for(rows), asked_for(rows, some))
        )
    _require_alike(trial, nothing, without, trial.batch, "with a condition that gives nothing and without one")
    require(_differ(given, without), "conditions change nothing")
    if not holds(partial(rows_do_not_see_each_other, trial)):
        return
    mixed = {name: torch.where(_as_rows(some, tensor), given[name], tensor) for name, tensor in without.items()}
    _require_alike(trial, mixed, partly, trial.batch, "where only some rows have a condition")


def _as_rows(mask: Tensor, tensor: Tensor) -> Tensor:
    return mask.view(-1, *(1 for _ in tensor.shape[1:]))


def gradients_reach_every_parameter(trial: BackboneTrial) -> None:
    """Over conditions given and not, each parameter gets a finite gradient that is not zero."""
    network, rows = trial.network().train(), len(trial.batch)
    generator = torch.Generator().manual_seed(0)
    for given in (True, False):
        outputs = network(trial.batch, times(rows), asked_for(rows, given))
        # Random weights, because a plain sum may be the same for all inputs.
        total = sum((t * torch.randn(t.shape, generator=generator, dtype=t.dtype)).sum() for t in outputs.values())
        assert isinstance(total, Tensor)
        total.backward()
    require_gradients(network)


def require_gradients(network: Backbone) -> None:
    """Each parameter has a gradient that is finite and not zero.

    Raises:
        CheckFailed: one has not.
    """
    for name, parameter in network.named_parameters():
        gradient = parameter.grad
        if parameter.requires_grad:
            require(gradient is not None and bool(gradient.any()), f"{name} gets no gradient")
            assert gradient is not None
            require(bool(torch.isfinite(gradient).all()), f"{name} gets a gradient that is not finite")


def weights_come_back(trial: BackboneTrial) -> None:
    """A fresh network with the saved weights gives the same outputs."""
    network, fresh = trial.network(), trial.network(seed=1)
    fresh.load_state_dict(load(save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})))
    _require_alike(trial, _read(trial, network), _read(trial, fresh), trial.batch, "before saving and after loading")


def foreign_layouts_are_refused(trial: BackboneTrial) -> None:
    """A space whose layout the class does not declare is a ValueError that says so in one line."""
    require(bool(trial.cls.layouts), "the class declares no layout")
    foreign = {layout(space): space for space in SPACES.values() if layout(space) not in trial.cls.layouts}
    if not foreign:
        raise Skipped("the class declares all layouts")
    for arrangement, space in foreign.items():
        _require_refusal(BackboneTrial(trial.cls, trial.config, space, trial.causal), arrangement)


def _require_refusal(trial: BackboneTrial, arrangement: Layout) -> None:
    try:
        trial.cls.make(trial.space, trial.heads, trial.config, None, trial.causal)
    except ValueError as error:
        text = str(error)
        require("\n" not in text and len(text.split()) > 3, f"the refusal of a {arrangement.value} says only {text!r}")
    else:
        require(False, f"a {arrangement.value} is taken, and the class declares no such layout")
