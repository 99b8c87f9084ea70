"""Encoded samples on disk, memory-mapped; written once for each data set and encoder.

A store is a folder: one flat `.npy` of packed elements per field, one `.npy` of sizes per variable
axis, and `meta.json`, which is written last and makes the folder a store.

Letters in shapes: R samples in the store, B batch, N elements of one sample along an axis.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from molgen.atomic_files import fsync_folder, temporary_sibling
from molgen.batch import Batch, collate, size_of, to_tensor_values
from molgen.domain import Encoder, Invalid, Item, Sample
from molgen.errors import MolgenError
from molgen.kinds import primitive
from molgen.space import Axis, Categorical, Field, Real, Space, is_symmetric, variable_axes

FORMAT = 1
#: The file of the rows that were left out: number, reason.
REJECTED = "rejected.csv"


class StoreError(MolgenError):
    """An encoded store is not whole; it can be deleted, because it is made again from the data."""


@dataclass
class EncodedChunk:
    """What a worker makes of `count` consecutive items: flat elements per field, and sizes, of the kept ones.

    `rejected` gives the reason for each of the others by its number in the chunk; `provenance` counts where samples
    come from, see `Encoder.provenance`.
    """

    count: int
    kept: list[int]
    fields: dict[str, np.ndarray]
    sizes: dict[str, np.ndarray]
    rejected: dict[int, str]
    provenance: dict[str, int] = dataclasses.field(default_factory=dict)


def encode_chunk(encoder: Encoder, items: Sequence[Item | Invalid]) -> EncodedChunk:
    """Encode consecutive items; one that is, or becomes, `Invalid` is left out with its reason.

    Raises:
        ValueError: the encoder is wrong: it gave a sample outside its space.
    """
    samples = (item if isinstance(item, Invalid) else encoder.encode(item) for item in items)
    return with_provenance(encoder, items, pack_chunk(encoder.space, samples))


def with_provenance(encoder: Encoder, items: Sequence[Item | Invalid], chunk: EncodedChunk) -> EncodedChunk:
    """The chunk with counts of where the samples of its items come from."""
    found = Counter(encoder.provenance(items[number]) for number in chunk.kept)
    return replace(chunk, provenance={source: count for source, count in found.items() if source})


def pack_chunk(space: Space, encoded: Iterable[Sample | Invalid]) -> EncodedChunk:
    """The samples of consecutive items as a store has them."""
    samples: list[Sample] = []
    kept: list[int] = []
    rejected: dict[int, str] = {}
    for number, sample in enumerate(encoded):
        if isinstance(sample, Invalid):
            rejected[number] = sample.reason
        else:
            samples.append(sample)
            kept.append(number)
    fields = {name: _concatenate(name, field, [sample[name] for sample in samples]) for name, field in space.items()}
    sizes = {name: _sizes(space, samples, axis) for name, axis in variable_axes(space).items()}
    return EncodedChunk(len(kept) + len(rejected), kept, fields, sizes, rejected)


def _sizes(space: Space, samples: Sequence[Sample], axis: Axis) -> np.ndarray:
    sizes = np.array([size_of(space, sample, axis) for sample in samples], dtype=np.int32)
    _require_within(sizes, axis.minimum, axis.maximum, f"sizes of the axis {axis.name!r}")
    return sizes


def _concatenate(name: str, field: Field, arrays: Sequence[np.ndarray]) -> np.ndarray:
    flat = flatten.dispatch(type(field))  # once, not for each of a million items
    kind = storage_type(field)
    joined = np.concatenate([np.zeros(0, dtype=kind), *(flat(field, array) for array in arrays)])
    if (count := field.classes if isinstance(field, Categorical) else getattr(field, "levels", None)) is not None:
        # A number outside would come back as another one.
        _require_within(joined, 0, count - 1, f"values of the field {name!r}")
    return joined.astype(kind, copy=False)


def _require_within(numbers: np.ndarray, least: int, most: int, what: str) -> None:
    if numbers.size and not (least <= numbers.min() and numbers.max() <= most):
        raise ValueError(f"the encoder gave {what} from {numbers.min()} to {numbers.max()}, outside {least} to {most}")


@primitive
def flatten(field: Field, array: np.ndarray) -> np.ndarray:
    """The numbers of one sample that the store keeps, those of its pairs i > j of a symmetric field.

    Teach a kind of field that holds fewer numbers than it has places.
    """
    return array[_pairs(len(array))].reshape(-1) if is_symmetric(field) else array.reshape(-1)


@primitive
def unflatten(field: Field, flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `flatten`; `shape` is that of the sample's axes."""
    if not is_symmetric(field):
        return flat.reshape((*shape, *field.channels_shape))
    full = np.zeros((*shape, *field.channels_shape), dtype=flat.dtype)
    full[_pairs(shape[0])] = flat.reshape(-1, *field.channels_shape)
    return full + full.swapaxes(0, 1)


@primitive
def storage_type(field: Field) -> np.dtype:
    """The number type in the store; teach a kind of field that holds no floating-point numbers."""
    return np.dtype(np.float32)


@lru_cache(maxsize=256)
def _pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The indices of unordered pairs, the larger one first; to make them takes longer than to use them."""
    return np.tril_indices(count, -1)


@storage_type.register
def _(field: Categorical) -> np.dtype:
    return np.min_scalar_type(field.classes - 1)


@storage_type.register
def _(field: Real) -> np.dtype:
    return np.dtype(np.float32) if field.levels is None else np.min_scalar_type(field.levels - 1)


def element_count(field: Field, axis_sizes: Sequence[np.ndarray]) -> np.ndarray:
    """How many numbers the store keeps of a field for each sample, (R,)."""
    count: np.ndarray = np.asarray(np.prod(field.channels_shape, dtype=np.int64))
    if is_symmetric(field):
        return count * (axis_sizes[0] * (axis_sizes[0] - 1) // 2)
    for sizes in axis_sizes:
        count = count * sizes
    return count


class Store:
    """Samples by number: `batch(rows)` reads them; `sizes` serve to bucket them.

    Raises:
        StoreError: there is no whole store at the path.
    """

    def __init__(self, path: Path, space: Space) -> None:
        self.path = path
        self.space = space
        try:
            self._open()
        except (OSError, EOFError, ValueError, KeyError) as error:
            raise StoreError(f"{path} is no whole store ({error}); delete it, and it will be made again") from None

    def _open(self) -> None:
        self.meta = json.loads((self.path / "meta.json").read_text())
        if self.meta["format"] != FORMAT:
            raise ValueError(f"its format is {self.meta['format']}, and this molgen reads {FORMAT}")
        self.fields = {name: _load(self.path / f"field.{name}.npy", mapped=True) for name in self.space}
        self.sizes = {
            name: _load(self.path / f"sizes.{name}.npy").astype(np.int64) for name in variable_axes(self.space)
        }
        self.offsets = {name: self._offsets(field) for name, field in self.space.items()}
        #: numbers that belong to each sample, (R,), NaN where absent: conditions come from these.
        self.columns = {name: _load(self.path / f"column.{name}.npy") for name in self.meta["columns"]}
        if any(len(self.fields[name]) != offsets[-1] for name, offsets in self.offsets.items()):
            raise ValueError("its parts do not fit together")
        if any(len(column) != len(self) for column in self.columns.values()):
            raise ValueError("its columns do not fit together")

    def __len__(self) -> int:
        return int(self.meta["count"])

    @property
    def rejected(self) -> dict[str, int]:
        """How many rows were left out, by reason."""
        return dict(self.meta["rejected"])

    @property
    def provenance(self) -> dict[str, int]:
        """How many samples come from where, see `Encoder.provenance`; empty where items say it themselves."""
        return dict(self.meta.get("provenance", {}))

    def rejections(self) -> Iterator[tuple[int, str]]:
        """The number of each row that was left out, counted from 0 over all rows, and the reason."""
        with (self.path / REJECTED).open(encoding="utf-8", newline="") as file:
            for number, reason in csv.reader(file):
                yield int(number), reason

    def _axis_sizes(self, axis: Axis) -> np.ndarray:
        return self.sizes[axis.name] if axis.variable else np.full(len(self), axis.maximum, dtype=np.int64)

    def _offsets(self, field: Field) -> np.ndarray:
        count = np.broadcast_to(element_count(field, [self._axis_sizes(axis) for axis in field.axes]), (len(self),))
        return np.concatenate([[0], np.cumsum(count)])

    def batch(self, rows: np.ndarray) -> Batch:
        """The samples of the given numbers as one padded batch."""
        if all(len(field.axes) == 1 and not field.channels_shape for field in self.space.values()):
            return self._ragged_batch(rows)
        return collate(self.space, [self.sample(int(row)) for row in rows])

    def sample(self, row: int) -> Sample:
        """One sample without padding."""
        sample = {}
        for name, field in self.space.items():
            flat = np.asarray(self.fields[name][self.offsets[name][row] : self.offsets[name][row + 1]])
            shape = tuple(int(self._axis_sizes(axis)[row]) for axis in field.axes)
            sample[name] = unflatten(field, flat, shape)
        return sample

    def _ragged_batch(self, rows: np.ndarray) -> Batch:
        """The same for fields along one axis, without a loop over samples."""
        fields = {}
        for name, field in self.space.items():
            start, size = self.offsets[name][rows], self._axis_sizes(field.axes[0])[rows]
            place = np.arange(int(size.max()))
            inside = place < size[:, None]
            flat = to_tensor_values(field, self.fields[name][np.where(inside, start[:, None] + place, 0)])
            fields[name] = torch.from_numpy(np.where(inside, flat, 0).astype(flat.dtype))
        return Batch(fields, {name: torch.from_numpy(sizes[rows]) for name, sizes in self.sizes.items()})


def _load(path: Path, mapped: bool = False) -> np.ndarray:
    return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)


class StoreWriter:
    """Appends encoded chunks to files beside the final folder; `finish` makes it a store in one rename."""

    def __init__(self, path: Path, space: Space) -> None:
        self.path, self.space = path, space
        self.folder = temporary_sibling(path)
        self.folder.mkdir(parents=True)
        self.count = self.seen = 0
        self.rejected: Counter[str] = Counter()
        self.provenance: Counter[str] = Counter()
        self.columns: dict[str, list[np.ndarray]] = {}
        self._files = {name: (self.folder / f"field.{name}.raw").open("wb") for name in space}
        self._rejections = (self.folder / REJECTED).open("w", encoding="utf-8", newline="")
        self._sizes: dict[str, list[np.ndarray]] = {name: [] for name in variable_axes(space)}

    def add(self, chunk: EncodedChunk, columns: Mapping[str, np.ndarray]) -> None:
        """Append the kept items of a chunk, with the column values of all its items."""
        for name, file in self._files.items():
            chunk.fields[name].tofile(file)
        for name, sizes in self._sizes.items():
            sizes.append(chunk.sizes[name])
        for name, values in columns.items():
            self.columns.setdefault(name, []).append(values[chunk.kept])
        csv.writer(self._rejections).writerows((self.seen + n, reason) for n, reason in chunk.rejected.items())
        self.rejected.update(chunk.rejected.values())
        self.provenance.update(chunk.provenance)
        self.count += len(chunk.kept)
        self.seen += chunk.count

    def finish(self) -> None:
        """Turn what was written into a store; an existing one at the path stays as it is."""
        self._rejections.close()
        for name, file in self._files.items():
            file.close()
            _raw_to_npy(self.folder / f"field.{name}.raw", storage_type(self.space[name]))
        for name, sizes in self._sizes.items():
            np.save(self.folder / f"sizes.{name}.npy", _join(sizes, np.int32))
        for name, values in self.columns.items():
            np.save(self.folder / f"column.{name}.npy", _join(values, np.float64))
        meta = {
            "format": FORMAT,
            "count": self.count,
            "columns": list(self.columns),
            "rejected": dict(self.rejected),
            "provenance": dict(self.provenance),
        }
        (self.folder / "meta.json").write_text(json.dumps(meta))
        fsync_folder(self.folder)
        try:
            os.rename(self.folder, self.path)
        except OSError:
            # Another process was first; its store has the same content.
            if not (self.path / "meta.json").exists():
                raise
            shutil.rmtree(self.folder)

    def abandon(self) -> None:
        """Leave nothing behind."""
        for file in (self._rejections, *self._files.values()):
            with suppress(OSError):  # a full disk takes no more of it
                file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _join(arrays: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(arrays).astype(kind, copy=False) if arrays else np.zeros(0, dtype=kind)


def _raw_to_npy(raw: Path, kind: np.dtype) -> None:
    """Put a `.npy` header before raw numbers without reading them all into memory."""
    count = raw.stat().st_size // kind.itemsize
    with raw.with_suffix(".npy").open("wb") as target, raw.open("rb") as source:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(target, header)
        shutil.copyfileobj(source, target, 1 << 22)
    raw.unlink()


Row = tuple[Item | Invalid, Mapping[str, float]]
