"""The most similar of many packed fingerprints: exact, and most pairs are never compared.

Fingerprints are folded. Their columns are dealt out to bins, and what a bin of a fingerprint holds beyond its
first bit is put on a heap. Two fingerprints share at most one bit in each bin in which both have one, and
otherwise at most the smaller of their heaps. A product of matrices over the bins, several times shorter than
one over the columns, gives this bound for all pairs, and with it a bound of their similarity. Only pairs
whose bound exceeds the best similarity so far are compared bit by bit: of drug-like molecules, one in a
thousand.

Letters in shapes: Q queries, R references, B bytes of each, W words of 8 bytes of each, N of either, C columns
of the folded form, P doubles and `all` slots of each, which hold the bounds (see `tanimoto`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from molgen_plugins.molecules.fingerprints.tanimoto import (
    BYTES,
    Slots,
    bit_counts,
    columns_of,
    pack,
    shared,
    similarities,
    slots_for,
    words,
)

#: Bins, and how many bits of a heap are compared; those beyond them count as shared.
BINS, HEAP = 168, 7
#: The most references of a chunk, and by what factor their bit counts differ at most.
CHUNK, RANGE = 1536, 1.25
#: Queries of one product; those that pass over all references together.
BLOCK, PASS = 2048, 8192
#: Doubles that are looked through only where the largest of their bounds suffices.
STRIP = 16
#: References that tell which columns are frequent; pairs that are compared together.
_SAMPLE, _PAIRS = 20_000, 1 << 16


def nearest(
    queries: np.ndarray, references: np.ndarray, floor: float = 0.0, device: str | torch.device = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """The largest similarity of each query to any reference; see `Neighbours`, which answers many calls."""
    return Neighbours(references, device).search(queries, floor)


class Neighbours:
    """References, folded and in the order of their bit counts, ready to be searched.

    Args:
        references: packed, uint8 (R, B). They are kept and not copied where B is a multiple of 8.
        device: where the products are computed; it must know float64.

    Raises:
        ValueError: there are none, or they are no packed fingerprints.
    """

    def __init__(self, references: np.ndarray, device: str | torch.device = "cpu") -> None:
        if not len(references):
            raise ValueError("there are no references to search")
        self._rows, self._device = words(references), device
        counts = bit_counts(self._rows)
        self._order = np.argsort(counts, kind="stable")
        self._bins = _bins(self._rows[:: len(counts) // _SAMPLE + 1])
        self._chunks = [self._chunk(start, stop, counts) for start, stop in _borders(counts[self._order])]

    def _chunk(self, start: int, stop: int, counts: np.ndarray) -> _Chunk:
        places = self._order[start:stop]
        columns = _folded(self._rows[places], self._bins)
        bits = np.packbits(columns[:-1].astype(bool), axis=1)
        return _Chunk(places, int(counts[places[0]]), int(counts[places[-1]]), bits, columns[-1])

    def search(self, queries: np.ndarray, floor: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """The largest similarity of each query to any reference.

        The similarity depends neither on the other queries nor on the order of the references. Where several
        references are as similar, the index may be that of any of them.

        Args:
            queries: packed, uint8 (Q, B).
            floor: similarities up to this one are of no interest. The higher it is, the less the work.

        Returns:
            The similarity, float64 (Q,), and the index of a reference that is so similar, int64 (Q,);
            `floor` and -1 where no reference is more similar than `floor`.

        Raises:
            ValueError: the queries are no packed fingerprints of the length of the references, or `floor` is
                negative.
        """
        if floor < 0:
            raise ValueError(f"no similarity is below {floor}")
        rows = words(queries)
        if rows.shape[1] != self._rows.shape[1]:
            raise ValueError(f"fingerprints of {64 * rows.shape[1]} bits against {64 * self._rows.shape[1]}")
        found = _Found(rows, self._rows, floor)
        if self._chunks[0].fewest == 0:
            found.match_empty(int(self._order[0]))
        order = np.argsort(found.counts, kind="stable")
        for start in range(0, len(rows), PASS):
            self._pass(found, order[start : start + PASS])
        return found.similarity, found.index

    def _pass(self, found: _Found, places: np.ndarray) -> None:
        """Take queries of about as many bits over all references."""
        columns = _folded(found.queries[places], self._bins)
        columns[-1] = 1  # meets what the heaps of the references hold beyond the bits that are compared
        queries = torch.from_numpy(columns.astype(float)).to(self._device)
        middle = float(np.median(found.counts[places]))
        # Those with about as many bits come first: soon every query has something similar, which excludes much.
        for rank, chunk in enumerate(sorted(self._chunks, key=lambda chunk: abs(chunk.most - middle))):
            promising = found.promising(places, chunk)
            if not len(promising):
                continue
            packs = chunk.packs().to(self._device)
            for start in range(int(promising[0]), int(promising[-1]) + 1, BLOCK):
                block = slice(start, min(start + BLOCK, int(promising[-1]) + 1))
                bounds = shared(packs, queries[:, block], chunk.slots)
                if not rank:
                    _compare_best(found, chunk, places[block], bounds)
                _compare(found, chunk, places[block], bounds)


class _Chunk(NamedTuple):
    """Some references.

    Attributes:
        places: where they are among all, int64 (N,).
        fewest, most: bits that one of them has.
        bits: their folded columns but the last one, packed along the references, uint8 (C - 1, N / 8).
        beyond: the last one, int16 (N,).
    """

    places: np.ndarray
    fewest: int
    most: int
    bits: np.ndarray
    beyond: np.ndarray

    @property
    def slots(self) -> Slots:
        return slots_for(self.most)

    def packs(self) -> torch.Tensor:
        """The folded columns, filled up to whole strips with what shares nothing; float64 (C, P)."""
        bits = np.unpackbits(self.bits, axis=1, count=len(self.beyond))
        columns = np.concatenate([bits, self.beyond[None]])
        missing = -len(self.beyond) % (STRIP * BYTES.used)
        return torch.from_numpy(pack(np.pad(columns, ((0, 0), (0, missing))), self.slots))


class _Found:
    """The best similarity of each query so far.

    Args:
        queries: words, uint64 (Q, W).
        references: words, uint64 (R, W).
        floor: what must be exceeded.
    """

    def __init__(self, queries: np.ndarray, references: np.ndarray, floor: float) -> None:
        self.queries, self._references = queries, references
        self.counts = bit_counts(queries)
        self.similarity = np.full(len(queries), float(floor))
        self.index = np.full(len(queries), -1, np.int64)

    def match_empty(self, reference: int) -> None:
        """Queries without a bit equal a reference without one, and share nothing with any other."""
        empty = (self.counts == 0) & (self.similarity < 1)
        self.similarity[empty], self.index[empty] = 1.0, reference

    def needed(self, places: np.ndarray, chunk: _Chunk) -> np.ndarray:
        """How many bits queries must share with a reference of the chunk to be more similar to it, int64 (Q,).

        With i shared bits, i / (a + b - i) > t means i > t (a + b) / (1 + t). The similarity t is a fraction of
        small numbers, so the right side is whole or further from a whole number than rounding and the slack.
        """
        best = self.similarity[places]
        exceeded = best * (self.counts[places] + chunk.fewest) / (1 + best)
        return np.floor(exceeded + 1e-6).astype(np.int64) + 1

    def promising(self, places: np.ndarray, chunk: _Chunk) -> np.ndarray:
        """Which queries have bits enough to be more similar to a reference of the chunk, ascending."""
        return np.flatnonzero(self.needed(places, chunk) <= np.minimum(self.counts[places], chunk.most))

    def compare(self, places: np.ndarray, references: np.ndarray) -> None:
        """Compare queries with references, pair by pair, and keep what is better."""
        for start in range(0, len(places), _PAIRS):
            query, reference = places[start : start + _PAIRS], references[start : start + _PAIRS]
            similarity = similarities(self.queries[query], self._references[reference])
            better = np.flatnonzero(similarity > self.similarity[query])
            better = better[np.argsort(similarity[better], kind="stable")]  # of a repeated query the last one stays
            self.similarity[query[better]], self.index[query[better]] = similarity[better], reference[better]


def _compare(found: _Found, chunk: _Chunk, queries: np.ndarray, bounds: torch.Tensor) -> None:
    """Compare bit by bit where the bounds (P, Q, all) reach what is needed."""
    slots = chunk.slots
    highest = torch.iinfo(slots.kind).max  # which no unused slot reaches
    needed = np.full((len(queries), slots.all), highest, slots.type)
    needed[:, : slots.used] = found.needed(queries, chunk).clip(max=highest)[:, None]
    lanes = torch.from_numpy(needed.ravel()).to(bounds.device)
    strips = bounds.view(-1, STRIP, len(lanes))
    strip, lane = torch.nonzero(strips.amax(1) >= lanes, as_tuple=True)
    hit, row = torch.nonzero(strips[strip, :, lane] >= lanes[lane, None], as_tuple=True)
    query, place = lane[hit] // slots.all, (strip[hit] * STRIP + row) * slots.used + lane[hit] % slots.all
    found.compare(queries[query.cpu().numpy()], chunk.places[place.cpu().numpy()])


def _compare_best(found: _Found, chunk: _Chunk, queries: np.ndarray, bounds: torch.Tensor) -> None:
    """Compare each query with the reference of the highest bound (P, Q, all)."""
    used = bounds[..., : chunk.slots.used].transpose(0, 1).flatten(1)
    best = used.argmax(1).cpu().numpy()
    real = best < len(chunk.places)
    found.compare(queries[real], chunk.places[best[real]])


# --- folding --------------------------------------------------------------------------------------


def _borders(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """The first and the last place, exclusive, of each chunk of references with these bit counts, in order."""
    start = 0
    while start < len(counts):
        similar = int(np.searchsorted(counts, counts[start] * RANGE, side="right"))
        stop = min(start + CHUNK, similar)
        yield start, stop
        start = stop


def _bins(rows: np.ndarray) -> np.ndarray:
    """The bin of each column, int64 (64 W,): the most frequent column first, each into the emptiest bin."""
    often = columns_of(rows).sum(1, dtype=np.int64)
    bins = np.zeros(len(often), np.int64)
    filled = [(0, k) for k in range(BINS)]
    for column in np.argsort(-often, kind="stable"):
        fill, number = heapq.heappop(filled)
        bins[column] = number
        heapq.heappush(filled, (fill + int(often[column]), number))
    return bins


def _folded(rows: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Words (N, W) as columns: a bit for each bin, as many for the heap, and what is beyond them; int16 (C, N)."""
    filled = np.zeros((BINS, len(rows)), np.uint8)
    for column, number in zip(columns_of(rows), bins.tolist(), strict=True):
        filled[number] |= column
    heap = bit_counts(rows) - filled.sum(0, dtype=np.int64)
    levels = heap > np.arange(HEAP)[:, None]
    return np.concatenate([filled, levels, np.maximum(heap - HEAP, 0)[None]]).astype(np.int16)
