"""What checks do with batches: more padding, elements in another order, known parts, comparisons.

Letters in shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from molgen.batch import Batch, Partial, field_mask, lengths
from molgen.ordering import ordering_of
from molgen.seeding import Rng
from molgen.space import Axis, Categorical, Field, Real, Space, axes, is_pairwise, is_symmetric, variable_axes
from molgen.testing.checks import Skipped, require

#: Conditions that every family and every network must read.
CONDITION: Space = {"asked number": Real(), "asked class": Categorical(classes=3)}


def padded(space: Space, batch: Batch, extra: int = 2) -> Batch:
    """The same samples with more padding along every variable axis, as far as its maximum allows."""
    own, now = variable_axes(space), lengths(space, batch)
    longer = {name: min(axis.maximum, now[name] + extra) - now[name] for name, axis in own.items()}
    return batch.with_fields({name: _widened(field, batch.fields[name], longer) for name, field in space.items()})


def cropped(space: Space, batch: Batch) -> Batch:
    """The same samples without padding that none of them needs."""
    largest = {name: int(size.max()) for name, size in batch.sizes.items()}
    return batch.with_fields(
        {
            name: batch.fields[name][(slice(None), *(slice(largest.get(axis.name)) for axis in field.axes))]
            for name, field in space.items()
        }
    )


def shorter_rows(batch: Batch) -> Tensor:
    """The rows that are not the largest along some axis along which sizes differ; all rows if they never do."""
    for size in batch.sizes.values():
        if bool((size < size.max()).any()):
            return (size < size.max()).nonzero().squeeze(1)
    return torch.arange(len(batch))


def less_and_more_padding(space: Space, batch: Batch) -> tuple[Tensor, Batch, Batch]:
    """Some rows, and their samples with no needless padding and with more.

    Raises:
        Skipped: nothing can be padded.
    """
    if not batch.sizes:
        raise Skipped("no axis has a size of its own, so nothing is padded")
    rows = shorter_rows(batch)
    less = cropped(space, batch.take(rows))
    more = padded(space, less)
    if lengths(space, less) == lengths(space, more):
        raise Skipped("all samples have the largest size, so nothing is padded")
    return rows, less, more


def _widened(field: Field, tensor: Tensor, longer: Mapping[str, int]) -> Tensor:
    pad = [0] * 2 * len(field.channels_shape)
    for axis in reversed(field.axes):
        pad += [0, longer.get(axis.name, 0)]
    return nn.functional.pad(tensor, pad)


def moved(space: Space, batch: Batch, order: Mapping[str, Tensor]) -> Batch:
    """The same samples with the elements of some axes in another order."""
    return batch.with_fields({name: reordered(field, batch.fields[name], order) for name, field in space.items()})


def reordered(field: Field, tensor: Tensor, order: Mapping[str, Tensor]) -> Tensor:
    """A tensor (B, *axes, ...) with the elements of some axes in another order."""
    for place, axis in enumerate(field.axes):
        if axis.name in order:
            tensor = tensor.index_select(1 + place, order[axis.name])
    return tensor


def unordered_axes(space: Space) -> dict[str, Axis]:
    """The axes along which positions carry no meaning."""
    return {name: axis for name, axis in axes(space).items() if not axis.ordered}


def in_float64(batch: Batch) -> Batch:
    """The same numbers in double precision."""
    return batch.with_fields(
        {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in batch.fields.items()}
    )


def rotation(seed: int = 0) -> Tensor:
    """A random rotation of space without a mirror, (3, 3) in float64."""
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    return turn * torch.linalg.det(turn)


def turned(space: Space, batch: Batch, turn: Tensor) -> Batch:
    """The same samples in a space that is turned."""
    found = dict(batch.fields)
    for name, field in space.items():
        if isinstance(field, Real) and field.rotates:
            own = found[name].unflatten(-1, (-1, 3)) @ turn.T.to(found[name])
            found[name] = own.flatten(-2)
    return batch.with_fields(found)


def asked_for(rows: int, given: Tensor | bool = True) -> Partial:
    """A value of every condition in every row, given in some."""
    numbers = {"asked number": torch.linspace(-1, 1, rows), "asked class": torch.arange(rows) % 3}
    mask = torch.as_tensor(given).expand(rows).clone()
    return Partial(Batch(numbers, {}), dict.fromkeys(CONDITION, mask))


def prefix(space: Space, batch: Batch) -> dict[str, Tensor]:
    """A mask of the first half of a batch in generation order, bool (B, *axes) by field."""
    ordering = ordering_of(space, batch)
    given = {name: torch.zeros_like(field_mask(space, batch, name)) for name in space}
    for step in ordering.slices[: (len(ordering) + 1) // 2]:
        mask, field = given[step.field], space[step.field]
        place: list[Any] = list(step.index[: len(field.axes)])
        if all(index < length for index, length in zip(place, mask.shape[1:], strict=True)):
            mask[(slice(None), *place)] = True
            if is_symmetric(field):
                mask[(slice(None), *reversed(place))] = True
    return {name: mask & field_mask(space, batch, name) for name, mask in given.items()}


def scattered(space: Space, batch: Batch) -> dict[str, Tensor]:
    """A mask of about half of all elements."""
    found = {}
    for name, field in space.items():
        exists = field_mask(space, batch, name)
        chosen = Rng(0, range(len(batch))).uniform(f"known {name}", exists.shape[1:]) < 0.5
        if is_pairwise(field):
            chosen = chosen.tril() | chosen.tril().transpose(1, 2)
        found[name] = chosen & exists
    return found


def require_kept(space: Space, known: Partial, batch: Batch) -> None:
    """What is known is in a batch of samples; points of a centred field are, up to one translation in each row.

    Raises:
        CheckFailed: it is not.
    """
    for name, given in known.given.items():
        wanted, found = known.batch.fields[name], batch.fields[name]
        shape = [min(a, b) for a, b in zip(wanted.shape[1:], found.shape[1:], strict=True)]
        inside = (slice(None), *(slice(length) for length in shape))
        mask = given[inside[: given.ndim]]
        require(bool(mask.sum() == given.sum()), f"samples are smaller than the known part of {name}")
        apart = wanted[inside].double() - found[inside].double()
        field = space[name]
        if isinstance(field, Real) and field.centred:
            apart = apart - _mean_of(apart, mask)
        kept = (apart.abs() <= 1e-4)[mask]
        require(bool(kept.all()), f"{_share(~kept)} of the known elements of {name} are others in the samples")


def _mean_of(points: Tensor, given: Tensor) -> Tensor:
    """The mean of the given points of each row, (B, 1, *channels)."""
    some = given.reshape(*given.shape, *(1 for _ in range(points.ndim - 2)))
    return torch.where(some, points, 0.0).sum(1, keepdim=True) / some.sum(1, keepdim=True).clamp(min=1)


def _share(wrong: Tensor) -> str:
    return f"{int(wrong.sum())} of {wrong.numel()}"


def require_close(first: Tensor, second: Tensor, message: str, tolerance: float) -> None:
    """Two tensors are the same up to rounding, `tolerance` of the larger of 1 and the number.

    Raises:
        CheckFailed: they are not; the message ends with the largest difference.
    """
    require(first.shape == second.shape, f"{message}: the shapes are {tuple(first.shape)} and {tuple(second.shape)}")
    first, second = first.detach().double(), second.detach().double()
    same = torch.isclose(first, second, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not bool(same.all()):
        require(False, f"{message}: they differ by up to {float((first - second).abs().nan_to_num().max()):.3g}")


def require_same_batch(space: Space, first: Batch, second: Batch, message: str, tolerance: float = 1e-3) -> None:
    """Two batches hold the same samples, numbers up to rounding.

    Raises:
        CheckFailed: they do not.
    """
    for name, size in first.sizes.items():
        require_close(size, second.sizes[name], f"{message}, sizes of {name!r}", 0)
    for name, field in space.items():
        one, other = _cut_alike(field, first.fields[name], second.fields[name])
        require_close(one, other, f"{message}, {name}", tolerance if one.is_floating_point() else 0)


def _cut_alike(field: Field, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two tensors without padding that only one of them has; equal sizes say that it is padding."""
    shape = [min(a, b) for a, b in zip(first.shape[1:], second.shape[1:], strict=True)]
    inside = (slice(None), *(slice(length) for length in shape[: len(field.axes)]))
    return first[inside], second[inside]


def shake(module: nn.Module, seed: int = 0) -> None:
    """Move all weights away from where they start, so that no part of a network is without effect.

    A network often starts with weights at zero, and would then keep guarantees that it breaks once it has learned.
    What is not trained, such as a trained model inside, stays as it is.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.requires_grad:
                continue
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            inputs = max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
            parameter.add_((noise * (0.5 / inputs**0.5 if parameter.ndim > 1 else 0.2)).to(parameter))
