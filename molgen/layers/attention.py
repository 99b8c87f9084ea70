"""Attention with rotary positions, gated feed-forward networks, and a cache of keys and values.

Letters in shapes: B batch, T tokens, P kinds of position, D width, N attention heads, C width of one head, L layers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

#: The slowest of the rotating pairs turns once in about 2π times as many positions (Su et al., arXiv 2104.09864).
LONGEST_PERIOD = 10_000.0
#: Places that a cache has room for at first; it doubles when they are full.
FIRST_ROOM = 32


class Rotation(NamedTuple):
    """The angles by which queries and keys turn, as cosines and sines, (T, C/2)."""

    cosine: Tensor
    sine: Tensor

    def turn(self, x: Tensor) -> Tensor:
        """Queries or keys, (B, N, T, C), turned: then their products depend on differences of positions only."""
        first, second = x.chunk(2, dim=-1)
        turned = (first * self.cosine - second * self.sine, first * self.sine + second * self.cosine)
        return torch.cat(turned, dim=-1).to(x.dtype)


def rotation(positions: Tensor, channels: int, like: Tensor) -> Rotation:
    """Rotary positions (Su et al., arXiv 2104.09864); several kinds of position share the channels evenly.

    Args:
        positions: (T, P), such as a row and a column for each token; with P = 0 nothing turns.
        channels: the even width C of one head, at least 2 P.
        like: has the number type and the device of the angles.
    """
    pairs, kinds = channels // 2, positions.shape[1]
    each = pairs // max(kinds, 1)
    kind = torch.promote_types(like.dtype, torch.float32)
    steps = torch.arange(each, dtype=kind, device=like.device) / max(each, 1)
    angles = (positions.to(steps)[:, :, None] * LONGEST_PERIOD**-steps).flatten(1)
    angles = nn.functional.pad(angles, (0, pairs - angles.shape[1]))
    return Rotation(angles.cos().to(like), angles.sin().to(like))


class Attention(nn.Module):
    """Every token reads from all tokens, or from those before it (Vaswani et al., arXiv 1706.03762)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.read = nn.Linear(width, 3 * width, bias=False)
        self.write = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, turns: Rotation, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """What each token reads, (B, T, D); `mask`, (B, 1, 1, T), says which tokens exist."""
        queries, keys, values = self.project(x, turns)
        return self.merge(scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal))

    def step(self, x: Tensor, turns: Rotation, cache: Cache, layer: int) -> Tensor:
        """What one more token, (B, 1, D), reads from itself and the tokens in the cache."""
        queries, keys, values = self.project(x, turns)
        keys, values = cache.write(layer, keys, values)
        return self.merge(scaled_dot_product_attention(queries, keys, values))

    def project(self, x: Tensor, turns: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, turned, and values, (B, N, T, C) each."""
        queries, keys, values = self.read(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return turns.turn(queries), turns.turn(keys), values

    def merge(self, found: Tensor) -> Tensor:
        """What the heads found, (B, N, T, C), as one vector for each token, (B, T, D)."""
        return self.write(found.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """A gated network for each token by itself: SwiGLU (Shazeer, arXiv 2002.05202)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Two thirds of the usual 4 D: the gate is a third matrix, and the number of weights stays.
        hidden = -(-8 * width // 24) * 8
        self.read = nn.Linear(width, 2 * hidden, bias=False)
        self.write = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        gate, values = self.read(x).chunk(2, dim=-1)
        return self.write(silu(gate) * values)


class Cache:
    """The keys and values of the tokens so far, (L, B, N, room, C) each; the first `length` places are filled.

    `following` shares its memory with this cache, unless something else went on from here before: a cache that
    is kept stays as it is.
    """

    def __init__(self, keys: Tensor, values: Tensor, length: int = 0) -> None:
        self.keys, self.values, self.length = keys, values, length
        self._followed = False

    @classmethod
    def empty(cls, layers: int, rows: int, heads: int, channels: int, like: Tensor) -> Cache:
        """A cache without tokens, of the number type and on the device of `like`."""
        keys, values = (like.new_empty(layers, rows, heads, FIRST_ROOM, channels) for _ in range(2))
        return cls(keys, values)

    @property
    def rows(self) -> int:
        """B."""
        return self.keys.shape[1]

    def following(self) -> Cache:
        """The cache of one more token, whose keys and values are to be written."""
        room = self.keys.shape[3]
        full = self.length == room
        last = self._copy(slice(None), 2 * room if full else room) if full or self._followed else self
        self._followed = True
        return Cache(last.keys, last.values, self.length + 1)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put in the last token's, (B, N, 1, C) each; all keys and values of the layer, (B, N, length, C) each."""
        for memory, new in ((self.keys, keys), (self.values, values)):
            memory[layer, :, :, self.length - 1] = new[:, :, 0]
        return self.keys[layer, :, :, : self.length], self.values[layer, :, :, : self.length]

    def take(self, rows: Tensor) -> Cache:
        """The cache of the given rows."""
        return self._copy(rows, self.keys.shape[3])

    def _copy(self, rows: Tensor | slice, room: int) -> Cache:
        copies = []
        for memory in (self.keys, self.values):
            filled = memory[:, rows, :, : self.length]
            copies.append(memory.new_empty(*filled.shape[:3], room, filled.shape[4]))
            copies[-1][:, :, :, : self.length] = filled
        return Cache(copies[0], copies[1], self.length)
