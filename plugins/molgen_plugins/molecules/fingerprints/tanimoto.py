"""Tanimoto similarities of packed fingerprints, exact: of given pairs, and summed over all pairs of a set.

The similarity of two fingerprints is the number of bits that both have by the number that either has,
and 1 where neither has any, as MOSES counts it. The order of the bits does not matter.

How many bits each of many pairs shares comes from one product of matrices, six pairs to a number: bit c
of six fingerprints lies in the six lowest bytes of one double, and the product adds up every byte for
itself. It starts at 2^52, because the mantissa of a double from there to 2^53 holds a whole number just
as an integer does: so the bytes of the product are the six counts, read without any arithmetic.

Letters in shapes: N fingerprints, B bytes of each, W words of 8 bytes of each, C columns that are counted,
P doubles that hold a column of several fingerprints each, Q fingerprints on the other side, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

#: The longest fingerprint, in bits: more do not fit into a slot.
LONGEST = 32_767
#: Fingerprints on each side of one product; the block of similarities stays in the cache of a core.
_UNIT = 768
_OFFSET = 2.0**52


class Slots(NamedTuple):
    """How a double holds several counts: `used` of its `all` slots, the lowest ones."""

    kind: torch.dtype
    type: type[np.generic]
    used: int
    all: int


#: For counts up to 255, and up to `LONGEST`.
BYTES, SHORTS = Slots(torch.uint8, np.uint8, 6, 8), Slots(torch.int16, np.int16, 3, 4)


def slots_for(most: int) -> Slots:
    """The slots for counts that do not exceed `most`."""
    return BYTES if most <= np.iinfo(np.uint8).max else SHORTS


def words(fingerprints: np.ndarray) -> np.ndarray:
    """Packed fingerprints, uint8 (N, B), as words, uint64 (N, W); no copy where B is a multiple of 8.

    Raises:
        ValueError: they are no such array, or longer than `LONGEST` bits.
    """
    if fingerprints.ndim != 2 or fingerprints.dtype != np.uint8:
        raise ValueError(f"packed fingerprints are uint8 (N, B), not {fingerprints.dtype} {fingerprints.shape}")
    if 8 * fingerprints.shape[1] > LONGEST:
        raise ValueError(f"fingerprints of {8 * fingerprints.shape[1]:,} bits; {LONGEST:,} are possible")
    if missing := -fingerprints.shape[1] % 8:
        fingerprints = np.pad(fingerprints, ((0, 0), (0, missing)))
    return np.ascontiguousarray(fingerprints).view(np.uint64)


def bit_counts(rows: np.ndarray) -> np.ndarray:
    """The bits that are set in each row of words, int64 (N,)."""
    return np.bitwise_count(rows).sum(1, dtype=np.int64)


def similarities(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of pairs: each row of words with the same row of the other array, float64 (N,)."""
    either = bit_counts(rows | others)
    return np.divide(bit_counts(rows & others), either, out=np.ones(len(rows)), where=either > 0)


def columns_of(rows: np.ndarray) -> np.ndarray:
    """The single bits of rows of words, uint8 (64 W, N): column by column."""
    turned = np.ascontiguousarray(rows.view(np.uint8).T)
    bits = np.stack([turned >> k & 1 for k in range(8)], axis=1)
    return bits.reshape(-1, len(rows))


def pack(columns: np.ndarray, slots: Slots) -> np.ndarray:
    """Columns (C, N) of small counts as doubles (C, P); fingerprint n is slot n % used of double n // used.

    The last column is one that every fingerprint on the other side has.
    """
    filled = np.pad(columns, ((0, 0), (0, -columns.shape[1] % slots.used)))
    filled = filled.reshape(len(columns), -1, slots.used)
    lanes = np.zeros((*filled.shape[:2], slots.all), slots.type)
    lanes[..., : slots.used] = filled
    packs = lanes.view(np.uint64)[..., 0].astype(float)
    packs[-1] += _OFFSET
    return packs


def shared(packs: torch.Tensor, columns: torch.Tensor, slots: Slots) -> torch.Tensor:
    """What fingerprints share, column by column, added up: (P, Q, all) of the kind of the slots.

    Exact, in whatever order the product adds: all its sums are whole numbers below 2^53.

    Args:
        packs: one side, as `pack` made it, float64 (C, P).
        columns: the other side, float64 (C, Q); the last column is all ones.
        slots: those of the packs.
    """
    product = packs.T @ columns
    return product.view(slots.kind).view(*product.shape, slots.all)


def power_sums(
    fingerprints: np.ndarray,
    groups: np.ndarray,
    size: int,
    powers: Sequence[float] = (1,),
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """Of each fingerprint: the sums of its similarities, raised to powers, to the fingerprints of each group.

    Each is counted with itself. Similarities are float32, and so are their sums.

    Args:
        fingerprints: packed, uint8 (N, B).
        groups: the group of each, int (N,), from 0.
        size: the number of groups G.
        powers: the powers.
        device: where the products are computed; it must know float64.

    Returns:
        float32 (powers, N, G).

    Raises:
        ValueError: they are no packed fingerprints.
    """
    rows = words(fingerprints)
    counts = bit_counts(rows)
    order = np.argsort(groups, kind="stable")
    order = order[counts[order] > 0]
    sums = np.zeros((len(powers), len(order), size), np.float32)
    units = list(_units(rows[order], counts[order], groups[order], device))
    for k, unit in enumerate(units):
        columns = torch.from_numpy(_completed(columns_of(rows[order[unit.rows]]), 1).astype(float)).to(device)
        for other in units[k:]:
            here, there = _sums(unit, columns, other, powers)
            sums[:, unit.rows, other.groups] += here
            if other is not unit:
                sums[:, other.rows, unit.groups] += there
    return _with_empty(sums, order, groups)


def _with_empty(sums: np.ndarray, order: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The sums (powers, n, G) of the fingerprints at the places `order`, and those of the empty ones elsewhere."""
    empty = np.ones(len(groups), bool)
    empty[order] = False
    whole = np.empty((len(sums), len(groups), sums.shape[2]), np.float32)
    whole[:, order] = sums
    whole[:, empty] = np.bincount(groups[empty], minlength=sums.shape[2])
    return whole


class _Unit(NamedTuple):
    """Some fingerprints, in the order of their groups.

    Attributes:
        rows, groups: which they are, n of them, and the groups from that of the first to that of the last.
        sizes: how many of them each of these groups has.
        packs: their columns and an empty one, float64 (C, P).
        counts: their bits, float32 (n,).
    """

    rows: slice
    groups: slice
    sizes: list[int]
    packs: torch.Tensor
    counts: torch.Tensor
    slots: Slots


def _units(rows: np.ndarray, counts: np.ndarray, groups: np.ndarray, device: str | torch.device) -> Iterator[_Unit]:
    slots = slots_for(int(counts.max(initial=0)))
    for start in range(0, len(rows), _UNIT):
        part = slice(start, min(start + _UNIT, len(rows)))
        among = slice(int(groups[start]), int(groups[part][-1]) + 1)
        sizes = np.bincount(groups[part] - among.start).tolist()
        packs = torch.from_numpy(pack(_completed(columns_of(rows[part]), 0), slots))
        yield _Unit(part, among, sizes, packs.to(device), torch.from_numpy(counts[part]).float().to(device), slots)


def _completed(columns: np.ndarray, last: int) -> np.ndarray:
    """The columns and one more, which is the same for all."""
    return np.pad(columns, ((0, 1), (0, 0)), constant_values=last)


def _sums(unit: _Unit, columns: torch.Tensor, other: _Unit, powers: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The sums for both units over the groups of the other one, (powers, n, k) each."""
    similarity = _similarities(unit, columns, other)
    raised = [similarity if power == 1 else similarity**power for power in powers]
    here = torch.stack([_grouped(numbers, other.sizes, 0) for numbers in raised])
    there = torch.stack([_grouped(numbers, unit.sizes, 1) for numbers in raised])
    return here.cpu().numpy(), there.cpu().numpy()


def _similarities(unit: _Unit, columns: torch.Tensor, other: _Unit) -> torch.Tensor:
    """Of all pairs of the other unit with this one, whose columns are given: float32 (n of the other, n)."""
    common = shared(other.packs, columns, other.slots)
    similarity = torch.empty(len(common), other.slots.used, columns.shape[1], device=common.device)
    for slot in range(other.slots.used):
        similarity[:, slot] = common[..., slot]
    similarity = similarity.flatten(0, 1)[: len(other.counts)]
    return similarity.div_((unit.counts + other.counts[:, None]).sub_(similarity))


def _grouped(numbers: torch.Tensor, sizes: list[int], along: int) -> torch.Tensor:
    """The sums of consecutive parts of these sizes along an axis; the other one comes first: (n, k)."""
    return torch.stack([part.sum(along) for part in numbers.split(sizes, along)], 1)
