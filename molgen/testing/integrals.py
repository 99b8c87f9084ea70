"""Densities of numbers against two identities, estimated with samples of the family itself.

To samples of the family a simple distribution q is fitted: their sizes and classes as often as they came, and for each
of these numbers from a normal or a t distribution with the mean and the covariance of the samples.

1. If p is a density, the mean of p(x) / q(x) over x ~ q is 1 (importance sampling): whatever the family draws, one that
   counts a volume wrongly integrates to something else.
2. If it is the density of the samples, the mean of q(x) / p(x) over other samples x ~ p is 1, where q has light tails.

Letters in shapes: S samples that q is fitted to, N points, D real elements of a sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, log, pi

import torch
from torch import Tensor

from molgen.batch import Batch, field_mask, pack_field, unpack_field
from molgen.family import Family
from molgen.seeding import Rng
from molgen.space import Field, Real, Space

#: Samples that q is fitted to.
FITTED = 1024
#: What multiplies the standard deviations of q: more to integrate, less where samples are judged.
WIDER, NARROWER = 1.2, 0.8
#: Degrees of freedom of the t distribution to integrate by, whose tails no usual density exceeds.
FREEDOM = 5.0


@dataclass(frozen=True)
class Mean:
    """An estimate of a mean, its standard error, and how much of the mass q may lack."""

    value: float
    error: float
    unseen: float


@dataclass(frozen=True)
class Numbers:
    """The distribution of the numbers of samples that have the same of them: a mean (D,) and a factor L of L L^T."""

    mean: Tensor
    factor: Tensor
    freedom: float

    @classmethod
    def fit(cls, values: Tensor, spread: float, freedom: float) -> Numbers:
        """To values (n, D); few of them are taken for independent of each other."""
        count, dims = values.shape
        mean = values.mean(0)
        deviations = values - mean
        covariance = deviations.T @ deviations / max(1, count - 1)
        variances = covariance.diagonal().clamp(min=1e-4) if count > 2 else torch.ones(dims, dtype=values.dtype)
        shrunk = count / (count + dims + 1) * covariance + (dims + 1) / (count + dims + 1) * torch.diag(variances)
        return cls(mean, spread * torch.linalg.cholesky(shrunk), freedom)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Points, (count, D)."""
        noise = torch.randn(count, len(self.mean), generator=generator, dtype=torch.float64)
        if self.freedom < inf:
            chi = torch.randn(count, int(self.freedom), generator=generator, dtype=torch.float64) ** 2
            noise = noise / chi.mean(1, keepdim=True).sqrt()
        return self.mean + noise @ self.factor.T

    def log_density(self, values: Tensor) -> Tensor:
        """log of the density of values (N, D), (N,)."""
        dims = torch.tensor(float(len(self.mean)), dtype=torch.float64)
        noise = torch.linalg.solve_triangular(self.factor, (values - self.mean).T, upper=False)
        square, volume = (noise**2).sum(0), self.factor.diagonal().log().sum()
        if self.freedom == inf:
            return -0.5 * square - 0.5 * dims * log(2 * pi) - volume
        half = torch.tensor(self.freedom / 2, dtype=torch.float64)
        top = torch.lgamma(half + dims / 2) - torch.lgamma(half) - 0.5 * dims * log(self.freedom * pi)
        return top - (half + dims / 2) * torch.log1p(square / self.freedom) - volume


class Fitted:
    """The distribution q around some samples.

    Args:
        space: the fields.
        samples: what it is fitted to.
        spread: what multiplies standard deviations.
        freedom: of the t distribution of numbers; infinite for a normal one.
    """

    def __init__(self, space: Space, samples: Batch, spread: float, freedom: float = inf) -> None:
        self.space, self.samples = space, samples
        self.values, exists = _real_elements(space, samples)
        self.patterns = _patterns(exists)
        self.counts: dict[object, int] = {}
        for key in _discrete(space, samples):
            self.counts[key] = self.counts.get(key, 0) + 1
        self.numbers = {
            pattern: Numbers.fit(self.values[rows][:, list(pattern)], spread, freedom)
            for pattern, rows in _rows_of(self.patterns).items()
        }

    def draw(self, count: int, seed: int) -> tuple[Batch, Tensor]:
        """Points, and log q of each, (N,)."""
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randint(len(self.samples), (count,), generator=generator)
        values = torch.zeros(count, self.values.shape[1], dtype=torch.float64)
        for pattern, places in _rows_of([self.patterns[row] for row in rows.tolist()]).items():
            values[places[:, None], torch.tensor(pattern, dtype=torch.long)] = self.numbers[pattern].draw(
                len(places), generator
            )
        batch = _with_numbers(self.space, self.samples.take(rows), values)
        return batch, self.log_density(batch)

    def log_density(self, batch: Batch) -> Tensor:
        """log q of samples, (N,); -inf where none has had their sizes and classes."""
        values, exists = _real_elements(self.space, batch)
        counts = torch.tensor([self.counts.get(key, 0) for key in _discrete(self.space, batch)], dtype=torch.float64)
        found = (counts / len(self.samples)).log()
        for pattern, rows in _rows_of(_patterns(exists)).items():
            known = self.numbers.get(pattern)
            found[rows] += known.log_density(values[rows][:, list(pattern)]) if known else -inf
        return found

    def unseen(self) -> float:
        """The mass of sizes and classes that no sample has, by those that only one has (Good, Biometrika 40, 1953)."""
        return sum(count == 1 for count in self.counts.values()) / len(self.samples)


#: log p of samples, (N,).
LogDensityOf = Callable[[Batch], Tensor]


class Estimator(ABC):
    """A mean over points that are drawn as they are asked for; those of before are kept.

    Args:
        space: of the samples.
        family: whose samples say where to look.
        log_density: what is judged.
        seed: of all draws.
    """

    def __init__(self, space: Space, family: Family, log_density: LogDensityOf, seed: int = 0) -> None:
        self._family, self._log_density, self._seed = family, log_density, seed
        self._fitted = self._fit(space, _samples(family, range(FITTED), seed))
        self._values = torch.zeros(0, dtype=torch.float64)

    def mean(self, count: int) -> Mean:
        """The mean over so many points; no fewer than before."""
        missing = range(len(self._values), count)
        if missing:
            self._values = torch.cat([self._values, self._more(missing).exp().detach()])
        error = float(self._values.std() / len(self._values) ** 0.5)
        return Mean(float(self._values.mean()), error, self._fitted.unseen())

    @abstractmethod
    def _fit(self, space: Space, samples: Batch) -> Fitted:
        """The distribution q."""

    @abstractmethod
    def _more(self, numbers: range) -> Tensor:
        """The logarithm of what is averaged, at the points of these numbers, (N,)."""


class Integral(Estimator):
    """The integral of exp(`log_density`) over the space, by importance sampling around samples of the family."""

    def _fit(self, space: Space, samples: Batch) -> Fitted:
        return Fitted(space, samples, WIDER, FREEDOM)

    def _more(self, numbers: range) -> Tensor:
        points, log_q = self._fitted.draw(len(numbers), self._seed + numbers.start)
        return self._log_density(points).double() - log_q


class Agreement(Estimator):
    """The mean of q / p over samples of the family, which is 1 where p is their density."""

    def _fit(self, space: Space, samples: Batch) -> Fitted:
        return Fitted(space, samples, NARROWER)

    def _more(self, numbers: range) -> Tensor:
        others = _samples(self._family, range(FITTED + numbers.start, FITTED + numbers.stop), self._seed)
        return self._fitted.log_density(others) - self._log_density(others).double()


def points_to_integrate(space: Space, family: Family, count: int, seed: int = 0) -> tuple[Batch, Tensor]:
    """Points x ~ q, and log q of each (N,)."""
    return Fitted(space, _samples(family, range(FITTED), seed), WIDER, FREEDOM).draw(count, seed)


def _samples(family: Family, numbers: range, seed: int) -> Batch:
    return family.sample(len(numbers), rng=Rng(seed, numbers)).batch


def _is_number(field: Field) -> bool:
    return isinstance(field, Real) and field.levels is None


def _real_elements(space: Space, batch: Batch) -> tuple[Tensor, Tensor]:
    """The packed real elements of all fields side by side, (B, D), and which exist."""
    found = [
        pack_field(field, batch.fields[name].double(), field_mask(space, batch, name))
        for name, field in space.items()
        if _is_number(field)
    ]
    values = torch.cat([packed.values for packed in found], 1)
    exists = torch.cat([packed.mask for packed in found], 1)
    return torch.where(exists, values, 0.0), exists


def _with_numbers(space: Space, batch: Batch, numbers: Tensor) -> Batch:
    fields, start = dict(batch.fields), 0
    for name, field in space.items():
        if not _is_number(field):
            continue
        exists = field_mask(space, batch, name)
        length = pack_field(field, batch.fields[name], exists).mask.shape[1]
        values = numbers[:, start : start + length].to(batch.fields[name].dtype)
        fields[name], start = unpack_field(field, values, exists), start + length
    return batch.with_fields(fields)


def _discrete(space: Space, batch: Batch) -> list[tuple[object, ...]]:
    """What is counted of each sample: its sizes, and its fields that are no numbers without levels."""
    columns: list[Sequence[object]] = [size.tolist() for size in batch.sizes.values()]
    for name, field in space.items():
        if not _is_number(field):
            packed = pack_field(field, batch.fields[name], field_mask(space, batch, name))
            rows = zip(packed.values, packed.mask, strict=True)
            columns.append([tuple(values[exists].tolist()) for values, exists in rows])
    return list(zip(*columns, strict=True)) if columns else [()] * len(batch)


def _patterns(exists: Tensor) -> list[tuple[int, ...]]:
    """Which real elements each sample has, by their numbers."""
    return [tuple(row.nonzero().flatten().tolist()) for row in exists]


def _rows_of(patterns: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Tensor]:
    rows: dict[tuple[int, ...], list[int]] = {}
    for row, pattern in enumerate(patterns):
        rows.setdefault(pattern, []).append(row)
    return {pattern: torch.tensor(found) for pattern, found in rows.items()}
