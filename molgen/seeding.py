"""Random numbers keyed by what they are for, so that batching and order cannot change them.

A random number is a pure function of (seed, item, step, field, element): the counter-based generator
Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Numbers are
made on the CPU, so that a seed means the same noise on every device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


class Rng:
    """Independent random numbers for each item of a batch; `take` follows the rows of the batch."""

    def __init__(self, seed: int, items: Sequence[int] | np.ndarray) -> None:
        self.seed = seed
        self.items = np.asarray(items, dtype=np.uint64)

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: Tensor | np.ndarray | slice) -> Rng:
        """The generator of the given rows."""
        index = rows.cpu().numpy() if isinstance(rows, Tensor) else rows
        return Rng(self.seed, self.items[index])

    def fold(self, name: str) -> Rng:
        """A generator for another purpose, independent of this one."""
        return Rng(_key(self.seed, name), self.items)

    def uniform(self, field: str, shape: Sequence[int] = (), step: int = 0, start: int = 0) -> Tensor:
        """Uniform numbers in the open interval (0, 1): float64, (B, *shape); `start` leaves so many of a row out."""
        count, skipped = int(np.prod(shape, dtype=np.int64)), start % 2
        words = _words(_key(self.seed, field), self.items, step, start // 2, (count + skipped + 1) // 2)
        # 52 bits and a half step: neither 0 nor 1 is possible.
        bits = (words[..., 0] << np.uint64(20)) | (words[..., 1] >> np.uint64(12))
        numbers = (bits.astype(np.float64) + 0.5) * 2.0**-52
        return torch.from_numpy(numbers[:, skipped : skipped + count].reshape(len(self), *shape))

    def normal(self, field: str, shape: Sequence[int] = (), step: int = 0) -> Tensor:
        """Standard normal numbers: float64, (B, *shape)."""
        return torch.special.ndtri(self.uniform(field, shape, step))

    def categorical(self, probabilities: Tensor, field: str, step: int = 0) -> Tensor:
        """A class per row by the inverse of the cumulative distribution in float64: (B, K) to (B,)."""
        return inverse_cdf(probabilities, self.uniform(field, step=step))

    def bernoulli(self, probability: float, field: str, step: int = 0) -> Tensor:
        """True with the given probability: bool, (B,)."""
        return self.uniform(field, step=step) < probability


def inverse_cdf(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The class at which the cumulative distribution passes `uniform`: (B, K) and (B,) to (B,).

    The probabilities need not sum to one; a class of probability zero is never chosen.
    """
    cumulative = probabilities.double().cumsum(-1)
    threshold = uniform.to(cumulative.device)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1).clamp(max=probabilities.shape[-1] - 1)


def _key(seed: int, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def content_key(sample: Mapping[str, np.ndarray]) -> int:
    """A number for what a sample holds: random numbers keyed by it are the same wherever the sample stands."""
    digest = hashlib.blake2b(digest_size=8)
    for name, array in sorted(sample.items()):
        numbers = np.asarray(array)
        # Whole numbers are the same in 32 and in 64 bits.
        wide = np.ascontiguousarray(numbers, np.float64 if numbers.dtype.kind == "f" else np.int64)
        digest.update(f"{name} {wide.shape}".encode() + wide.tobytes())
    return int.from_bytes(digest.digest(), "little")


def _words(key: int, items: np.ndarray, step: int, first: int, blocks: int) -> np.ndarray:
    """Random 32-bit words as uint64, (items, 2 * blocks, 2), from a block on."""
    counter = np.empty((4, len(items), blocks), dtype=np.uint64)
    counter[0] = (items & _LOW)[:, None]
    counter[1] = (items >> _SHIFT)[:, None]
    counter[2] = np.uint64(step)
    counter[3] = np.arange(first, first + blocks, dtype=np.uint64)
    return np.moveaxis(philox(counter, key), 0, -1).reshape(len(items), 2 * blocks, 2)


def philox(counter: np.ndarray, key: int) -> np.ndarray:
    """Philox4x32-10: four 32-bit words, as uint64 along the first dimension, to four random ones."""
    low, high = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        first, second = counter[0] * _MULTIPLIERS[0], counter[2] * _MULTIPLIERS[1]
        counter = np.stack(
            [
                (second >> _SHIFT) ^ counter[1] ^ np.uint64(low),
                second & _LOW,
                (first >> _SHIFT) ^ counter[3] ^ np.uint64(high),
                first & _LOW,
            ]
        )
        low, high = (low + _WEYL[0]) & 0xFFFFFFFF, (high + _WEYL[1]) & 0xFFFFFFFF
    return counter
