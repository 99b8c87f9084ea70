"""What every network along the generation order guarantees, as one function for each guarantee.

Letters in shapes: B batch, T slices in generation order, S slices of one field, W width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molgen.backbone import CausalBackbone
from molgen.batch import Partial
from molgen.ordering import TokenBatch, batch_to_tokens, vocabulary_size
from molgen.testing.backbones import EFFECT, require_gradients
from molgen.testing.batches import asked_for, require_close
from molgen.testing.checks import Skipped, require
from molgen.testing.fixtures import WIDTH, BackboneTrial

#: Rounding of the two precisions between all slices at once and one after the other.
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-5}


def outputs_have_their_shape(trial: BackboneTrial) -> None:
    """Each field has a vector for each of its slices, (B, S, W), and its numbers are finite."""
    network, made = trial.causal_network(), _choices(trial)
    outputs = network(made, None, _asked(trial))
    require(set(outputs) == set(trial.heads), f"the outputs are {', '.join(outputs)}, not {', '.join(trial.heads)}")
    for name, tensor in outputs.items():
        shape = (len(trial.batch), len(made.ordering.steps[name]), WIDTH)
        require(tensor.shape == shape, f"{name} has the shape {tuple(tensor.shape)}, not {shape}")
        require(bool(torch.isfinite(tensor).all()), f"{name} is not finite")


def _choices(trial: BackboneTrial) -> TokenBatch:
    return batch_to_tokens(trial.space, trial.batch)


def _asked(trial: BackboneTrial) -> Partial:
    return asked_for(len(trial.batch))


def _slice_by_slice(
    network: CausalBackbone, made: TokenBatch, condition: Partial | None, keep: Tensor | None = None
) -> dict[str, Tensor]:
    """The outputs from `start` and `step`; with `keep`, of these rows only from the second slice on."""
    found: dict[str, list[Tensor]] = {name: [] for name in made.ordering.steps}
    state, previous, ids = network.start(condition, len(made.ids)), None, made.ids
    with torch.no_grad():
        for t, step in enumerate(made.ordering.slices):
            if t == 1 and keep is not None:
                assert previous is not None
                state, ids, previous = state.take(keep), ids[keep], (previous[0], previous[1][keep])
                found = {name: [output[keep] for output in outputs] for name, outputs in found.items()}
            output, state = network.step(step, state, previous)
            found[step.field].append(output)
            previous = (step, ids[:, t])
    return {name: torch.stack(outputs, dim=1) for name, outputs in found.items()}


def _at_once(network: CausalBackbone, made: TokenBatch, condition: Partial | None) -> dict[str, Tensor]:
    with torch.no_grad():
        return network(made, None, condition)


def slices_one_by_one_equal_all_at_once(trial: BackboneTrial) -> None:
    """`start` and `step` give what `forward` gives, to 1e-5 in float32 and 1e-10 in float64."""
    network, made = trial.causal_network(), _choices(trial)
    # The wider kind first: what was narrow once does not become precise again.
    for kind, tolerance in ROUNDING.items():
        network = network.to(kind)
        whole, steps = _at_once(network, made, _asked(trial)), _slice_by_slice(network, made, _asked(trial))
        for name in trial.space:
            known = _known(made, name)
            message = f"{name} all at once and slice by slice in {kind}"
            require_close(whole[name][known], steps[name][known], message, tolerance)


def _known(made: TokenBatch, name: str) -> Tensor:
    """In which slices of a field each row takes part, (B, S); what a network says at others is nobody's concern."""
    return made.mask[:, made.ordering.steps[name]]


def a_state_can_lose_rows(trial: BackboneTrial) -> None:
    """`State.take` goes on with some rows, in any order, as in the whole."""
    network, made = trial.causal_network(), _choices(trial)
    if len(made.ordering) < 2:
        raise Skipped("the generation order has one slice only")
    keep = torch.tensor([2, 0])
    whole = _slice_by_slice(network, made, _asked(trial))
    part = _slice_by_slice(network, made, _asked(trial), keep)
    for name, tensor in whole.items():
        known = _known(made, name)[keep]
        require_close(tensor[keep][known], part[name][known], f"{name} of some rows and of all", 1e-8)


def outputs_see_earlier_slices_only(trial: BackboneTrial) -> None:
    """Another choice changes no output before it, nor at it, and some output behind it."""
    network, made = trial.causal_network(), _choices(trial)
    before = _at_once(network, made, None)
    behind = 0.0
    for place in {0, len(made.ordering) // 2, len(made.ordering) - 1}:
        after = _at_once(network, _changed(trial, made, place), None)
        for name in trial.space:
            steps = made.ordering.steps[name]
            difference = (before[name] - after[name]).abs()
            early = difference[:, steps <= place]
            largest = float(early.max()) if early.numel() else 0.0
            require(largest < EFFECT, f"the choice at slice {place} changes {name} there or before, by {largest:.3g}")
            behind = max(behind, float(difference.max()) if difference.numel() else 0.0)
    if len(made.ordering) > 1:
        require(behind > EFFECT, "no choice changes anything")


def _changed(trial: BackboneTrial, made: TokenBatch, place: int) -> TokenBatch:
    """The same choices but for another class at one slice."""
    ids = made.ids.clone()
    classes = vocabulary_size(trial.space[made.ordering.slices[place].field])
    ids[:, place] = (ids[:, place] + 1) % classes
    return TokenBatch(made.ordering, ids, made.mask)


def rows_do_not_see_each_other(trial: BackboneTrial) -> None:
    """The outputs of a row are the same beside other rows."""
    network, made, asked = trial.causal_network(), _choices(trial), _asked(trial)
    together = _at_once(network, made, asked)
    for rows in (torch.tensor([1]), torch.arange(len(trial.batch) - 1, -1, -1)):
        part = TokenBatch(made.ordering, made.ids[rows], made.mask[rows])
        alone = _at_once(network, part, asked.take(rows))
        for name in trial.space:
            known = _known(made, name)[rows]
            message = f"{name} of a row beside others and without them"
            require_close(together[name][rows][known], alone[name][known], message, 1e-8)


def conditions_may_have_gaps(trial: BackboneTrial) -> None:
    """A condition that gives nothing is as none; what is given has an effect."""
    network, made = trial.causal_network(), _choices(trial)
    nothing, without, given = (
        _at_once(network, made, condition) for condition in (asked_for(len(made.ids), False), None, _asked(trial))
    )
    for name in trial.space:
        require_close(nothing[name], without[name], f"{name} with a condition that gives nothing and without one", 1e-8)
    effect = any(bool(((given[name] - tensor).abs() > EFFECT).any()) for name, tensor in without.items())
    require(effect, "conditions change nothing")


def gradients_reach_every_parameter(trial: BackboneTrial) -> None:
    """Over conditions given and not, each parameter gets a finite gradient that is not zero."""
    network, made = trial.causal_network().train(), _choices(trial)
    generator = torch.Generator().manual_seed(0)
    for given in (True, False):
        outputs = network(made, None, asked_for(len(made.ids), given))
        total = sum((t * torch.randn(t.shape, generator=generator, dtype=t.dtype)).sum() for t in outputs.values())
        assert isinstance(total, Tensor)
        total.backward()
    require_gradients(network)
