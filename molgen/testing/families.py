"""What every family guarantees, as one function for each guarantee.

Letters in shapes: B batch.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial

import torch
from safetensors.torch import load, save
from torch import Tensor

from molgen.batch import Batch, Partial, pack
from molgen.family import Family, Known, Loss, phases_of
from molgen.seeding import Rng
from molgen.space import variable_axes
from molgen.testing.batches import (
    CONDITION,
    asked_for,
    less_and_more_padding,
    prefix,
    require_close,
    require_kept,
    require_same_batch,
    scattered,
)
from molgen.testing.checks import Skipped, holds, require, skip_unless
from molgen.testing.containment import require_batch
from molgen.testing.fixtures import FamilyTrial

#: Rounding of float32 in a loss, relative to the larger of 1 and the loss.
ROUNDING = 1e-4
#: Training steps of the check that a family can be trained, and their rate.
STEPS, RATE = 5, 1e-3
#: Draws of the random numbers of a loss, of which one may leave out what another reaches.
DRAWS = 4

_NO_REPEATING = "the loss does not repeat with its seed"


def loss_is_a_finite_number_per_item(trial: FamilyTrial) -> None:
    """loss(batch) and validate(batch) have a finite number for each row, in total and in each of their parts."""
    family = trial.family()
    for phase in family.phases:
        _require_a_number_per_row("the loss", family.loss(trial.batch, None, trial.rng, phase=phase), len(trial.batch))
    _require_a_number_per_row("validate", family.validate(trial.batch, None, trial.rng), len(trial.batch))


def _require_a_number_per_row(what: str, loss: Loss, rows: int) -> None:
    for name, tensor in {"total": loss.total, **loss.parts}.items():
        require(
            tensor.shape == (rows,) and tensor.is_floating_point(),
            f"{name} of {what} is {tensor.dtype} of shape {tuple(tensor.shape)}, "
            f"where a number for each of {rows} rows belongs",
        )
        require(bool(torch.isfinite(tensor).all()), f"{name} of {what} is not finite: {tensor.tolist()}")


def every_parameter_has_a_phase(trial: FamilyTrial) -> None:
    """Each parameter is moved by the optimiser of some phase."""
    family = trial.family()
    moved = {id(p) for phase in phases_of(family).values() for p in phase.parameters()}
    forgotten = [name for name, p in family.named_parameters() if p.requires_grad and id(p) not in moved]
    require(not forgotten, f"no phase holds the parameters {', '.join(forgotten)}")


def gradients_reach_every_parameter(trial: FamilyTrial) -> None:
    """Over conditions given and not, each parameter of a phase gets a finite gradient that is not zero."""
    family = trial.family(CONDITION).train()
    moved = phases_of(family)
    names = {parameter: name for name, parameter in family.named_parameters()}
    for phase in moved:
        family.zero_grad()
        for draw in range(DRAWS):  # until all have one: what a draw does not reach, another may
            _add_gradients(trial, family, phase, Rng(draw, trial.rng.items))
            if all(p.grad is not None and bool(p.grad.any()) for p in moved[phase].parameters()):
                break
        for parameter in moved[phase].parameters():
            _require_gradient(f"phase {phase!r}: {names[parameter]}", parameter.grad)


def _add_gradients(trial: FamilyTrial, family: Family, phase: str, rng: Rng) -> None:
    for given in (True, False):
        family.loss(trial.batch, asked_for(len(trial.batch), given), rng, phase=phase).total.sum().backward()


def _require_gradient(name: str, gradient: Tensor | None) -> None:
    require(gradient is not None, f"{name} gets no gradient")
    assert gradient is not None
    require(bool(torch.isfinite(gradient).all()), f"{name} gets a gradient that is not finite")
    require(bool(gradient.any()), f"{name} gets a gradient of zero")


def loss_repeats_with_its_seed(trial: FamilyTrial) -> None:
    """The same batch and the same `rng` give the same loss; nothing else random is used in evaluation."""
    _require_repeating_loss(trial, trial.family())


def _require_repeating_loss(trial: FamilyTrial, family: Family) -> None:
    for phase in family.phases:
        first, second = _twice(partial(_loss, trial, family, phase))
        require_close(first, second, f"phase {phase!r}: the loss of the same items and seed", ROUNDING)


def _loss(trial: FamilyTrial, family: Family, phase: str) -> Tensor:
    return family.loss(trial.batch, None, trial.rng, phase=phase).total


def _twice(function: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """The results under two seeds of torch's own generator, which nobody may use."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = function()
        torch.manual_seed(2)
        return first, function()


def loss_is_per_item(trial: FamilyTrial) -> None:
    """The loss of an item is the same beside other items, unless the family declares `coupled`."""
    family = trial.family()
    if family.capability.coupled:
        raise Skipped("the family declares that the loss of an item depends on its batch (Capability.coupled)")
    skip_unless(partial(_require_repeating_loss, trial, family), _NO_REPEATING)
    _require_loss_per_item(trial, family)


def _require_loss_per_item(trial: FamilyTrial, family: Family) -> None:
    for phase in family.phases:
        together = _loss(trial, family, phase)
        for rows in _parts(len(trial.batch)):
            alone = family.loss(trial.batch.take(rows), None, trial.rng.take(rows), phase=phase).total
            message = f"phase {phase!r}: the loss of items beside others and without them"
            require_close(together[rows], alone, message, ROUNDING)


def _parts(rows: int) -> list[Tensor]:
    """The first row alone, and the others the other way round."""
    return [torch.tensor([0]), torch.arange(rows - 1, 0, -1)]


def padding_changes_nothing(trial: FamilyTrial) -> None:
    """More padding leaves losses and log-densities as they are."""
    family = trial.family()
    rows, less, more = less_and_more_padding(trial.space, trial.batch)
    rng = trial.rng.take(rows)
    skip_unless(partial(_require_repeating_loss, trial, family), _NO_REPEATING)
    for phase in family.phases:
        first, second = (family.loss(batch, None, rng, phase=phase).total for batch in (less, more))
        require_close(first, second, f"phase {phase!r}: the loss with less and with more padding", ROUNDING)
    first, second = (trial.density(family, batch, rng).value for batch in (less, more))
    require_close(first, second, "the log-density with less and with more padding", ROUNDING)


def training_stays_finite(trial: FamilyTrial) -> None:
    """Five steps of training leave the loss of each phase finite, and samples can be drawn."""
    family = trial.family()
    for phase, loss in trial.training(family, STEPS, RATE):
        require(bool(torch.isfinite(loss)), f"phase {phase!r}: the loss becomes {loss.item()}")
    for name, parameter in family.named_parameters():
        require(bool(torch.isfinite(parameter).all()), f"{name} is not finite after {STEPS} steps")
    family.sample(2, rng=Rng(0, range(2)))


def can_be_copied(trial: FamilyTrial) -> None:
    """A deep copy, as the averaging of weights makes one, has parameters of its own and the same loss."""
    family = trial.family()
    twin = copy.deepcopy(family)
    shared = {id(p) for p in family.parameters()} & {id(p) for p in twin.parameters()}
    require(not shared, "a deep copy shares parameters with the original")
    phase = next(iter(family.phases))
    first, second = (_loss(trial, part, phase) for part in (family, twin))
    skip_unless(partial(_require_repeating_loss, trial, family), _NO_REPEATING)
    require_close(first, second, "the loss of the original and of a deep copy", ROUNDING)


def training_state_comes_back(trial: FamilyTrial) -> None:
    """What `training_state` gives can be written as safetensors and taken back by a fresh family."""
    family = trial.family()
    before = _through_a_file(family.training_state())
    fresh = trial.family(seed=1)
    fresh.load_training_state(before)
    after = fresh.training_state()
    require(before.keys() == after.keys(), "the training state of a fresh family has other names")
    for name, tensor in before.items():
        require_close(tensor, after[name], f"the training state {name!r} before and after", 0)


def _through_a_file(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return load(save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}))


def weights_come_back(trial: FamilyTrial) -> None:
    """A family made from the saved state, with the saved weights, gives the same samples and the same log-densities."""
    family, rng = trial.family(), trial.rng
    fresh = trial.family(seed=1, state=json.loads(json.dumps(family.state())))
    fresh.load_state_dict(_through_a_file(family.state_dict()))
    fresh.eval()
    before, again, after = (part.sample(len(rng), rng=rng).batch for part in (family, family, fresh))
    repeating = partial(require_same_batch, trial.space, before, again, "samples of one seed")
    skip_unless(repeating, "samples do not repeat with their seed")
    require_same_batch(trial.space, before, after, "samples before saving and after loading")
    first, second = (trial.density(part).value for part in (family, fresh))
    require_close(first, second, "log-densities before saving and after loading", ROUNDING)


def samples_lie_in_the_space(trial: FamilyTrial) -> None:
    """As many samples as are asked for, drawn with and without `rng`, are samples of the space."""
    _require_samples(trial, trial.family())


def _require_samples(trial: FamilyTrial, family: Family) -> None:
    for count, rng in ((12, Rng(0, range(12))), (3, None)):
        batch = family.sample(count, rng=rng).batch
        require(len(batch) == count, f"{count} samples were asked for, and {len(batch)} came")
        require_batch(trial.space, batch)


def one_sample_lies_in_the_space(trial: FamilyTrial) -> None:
    """A single sample is a sample of the space."""
    require_batch(trial.space, trial.family().sample(1, rng=Rng(0, range(1))).batch)


def samples_repeat_with_their_seed(trial: FamilyTrial) -> None:
    """A seed gives the same samples again, other seeds others, whatever the batching and the order of rows."""
    family, rng = trial.family(), Rng(5, range(12))

    def draw(part: Rng) -> Batch:
        return family.sample(len(part), rng=part).batch

    with torch.random.fork_rng(devices=[]):
        whole = draw(rng)
        torch.manual_seed(1)
        for rows in (torch.arange(5), torch.arange(11, 4, -1)):
            message = "samples of one seed in other batches"
            require_same_batch(trial.space, whole.take(rows), draw(rng.take(rows)), message)
    other = draw(Rng(6, range(12)))
    require(not holds(lambda: require_same_batch(trial.space, whole, other, "")), "another seed gives the same samples")


def sizes_are_honoured(trial: FamilyTrial) -> None:
    """Samples have the sizes that are asked for."""
    own, family = variable_axes(trial.space), trial.family()
    if not own:
        raise Skipped("no axis has a size of its own")
    largest = {name: int(size.max()) for name, size in trial.batch.sizes.items()}
    count = 8
    sizes = {
        name: axis.minimum + torch.arange(count) % (max(axis.minimum, largest[name]) - axis.minimum + 1)
        for name, axis in own.items()
    }
    batch = family.sample(count, rng=Rng(0, range(count)), sizes=sizes).batch
    for name, size in sizes.items():
        found = batch.sizes[name].tolist()
        require(found == size.tolist(), f"the sizes {size.tolist()} of {name!r} were asked for, and {found} came")


def conditions_may_have_gaps(trial: FamilyTrial) -> None:
    """Losses, samples and densities are there with all, some and no conditions; what is not given is as if unknown."""
    family, rows, rng = trial.family(CONDITION), len(trial.batch), trial.rng
    phase = next(iter(family.phases))
    some = torch.arange(rows) % 2 == 0
    conditions = {"all": asked_for(rows), "some": asked_for(rows, some), "none": asked_for(rows, False), "": None}
    losses = {name: family.loss(trial.batch, asked, rng, phase=phase).total for name, asked in conditions.items()}
    for name, loss in losses.items():
        require(bool(torch.isfinite(loss).all()), f"with {name or 'no'} conditions given the loss is not finite")
    density = family.log_density(trial.batch, conditions["some"], rng).value
    require(not bool(density.isnan().any()), "with some conditions given a log-density is not a number")
    count = len(family.sample(rows, condition=conditions["some"], rng=rng).batch)
    require(count == rows, f"with some conditions given {rows} samples were asked for, and {count} came")
    skip_unless(partial(_require_repeating_loss, trial, family), _NO_REPEATING)
    require_close(losses["none"], losses[""], "the loss with a condition that gives nothing and without one", ROUNDING)
    require(not torch.equal(losses["all"], losses[""]), "conditions change nothing")
    # Of a coupled loss a batch may show nothing, and another condition does.
    if not family.capability.coupled and holds(partial(_require_loss_per_item, trial, family)):
        mixed = torch.where(some, losses["all"], losses[""])
        require_close(losses["some"], mixed, "the loss where only some rows have conditions", ROUNDING)


def known_parts_are_kept(trial: FamilyTrial) -> None:
    """What `Capability.known` guarantees to keep is kept; what it does not is refused, or kept all the same."""
    family, space, batch = trial.family(), trial.space, trial.batch
    declared = family.capability.known
    skip_unless(partial(_require_samples, trial, family), "without a known part samples lie outside of the space")
    for sizes in ({}, dict(batch.sizes)) if batch.sizes else ({},):
        if declared is Known.PREFIX:
            _require_keeping(trial, family, Partial(batch, prefix(space, batch)), sizes, guaranteed=True)
        guaranteed = declared in (Known.REPLACEMENT, Known.EXACT)
        _require_keeping(trial, family, Partial(batch, scattered(space, batch)), sizes, guaranteed)


def _require_keeping(
    trial: FamilyTrial, family: Family, known: Partial, sizes: dict[str, Tensor], guaranteed: bool
) -> None:
    try:
        drawn = family.sample(len(known), rng=trial.rng, known=known, sizes=sizes or None)
    except ValueError as error:
        require(not guaranteed, f"the family declares {family.capability.known}, and refuses a known part: {error}")
        return
    require_batch(trial.space, drawn.batch)
    require_kept(trial.space, known, drawn.batch)


def log_density_is_as_declared(trial: FamilyTrial) -> None:
    """log_density has a number for each row, of the declared kind or a stronger one, and counts free elements."""
    family = trial.family()
    density = trial.density(family)
    require(
        density.kind >= family.capability.density,
        f"the kind is {density.kind.name}, weaker than the declared {family.capability.density.name}",
    )
    require(bool(torch.isfinite(density.value).all()), f"the log-density is not finite: {density.value.tolist()}")
    expected = sum(packed.mask.sum(1) for packed in pack(trial.space, trial.batch).values())
    require_close(density.dims, torch.as_tensor(expected), "dims and the number of free elements", 0)
    error = density.standard_error
    if error is not None:
        require(error.shape == density.value.shape, f"the standard error has the shape {tuple(error.shape)}")
        require(bool((error >= 0).all() and torch.isfinite(error).all()), "a standard error is negative or not finite")


def log_density_is_per_item(trial: FamilyTrial) -> None:
    """The log-density of an item is the same beside other items, and with the same seed."""
    family = trial.family()
    together = trial.density(family).value
    for rows in _parts(len(trial.batch)):
        alone = trial.density(family, trial.batch.take(rows), trial.rng.take(rows)).value
        require_close(together[rows], alone, "the log-density of items beside others and without them", ROUNDING)


def unknown_options_are_refused(trial: FamilyTrial) -> None:
    """An option that the family does not know is a ValueError that names it."""
    family = trial.family()
    calls: dict[str, Callable[..., object]] = {
        "sample": lambda **options: family.sample(1, **options),
        "log_density": lambda **options: family.log_density(trial.batch, rng=trial.rng, **options),
    }
    for name, call in calls.items():
        try:
            call(no_such_option=1)
        except ValueError as error:
            require("no_such_option" in str(error), f"{name} refuses an unknown option without naming it: {error}")
        else:
            require(False, f"{name} takes an option that it does not know")
