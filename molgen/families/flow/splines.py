"""Invertible functions of one number: affine ones, and monotone rational-quadratic splines.

The splines are those of Durkan et al., arXiv 1906.04032.

Letters in shapes: B batch, E packed elements, K bins, P parameters of one element.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import expm1, log

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

#: The smallest share of the interval that a bin has, and the smallest slope at a knot.
LEAST_SHARE, LEAST_SLOPE = 1e-3, 1e-3
#: Added to what the network gives for a slope, so that 0 means a slope of 1.
UNIT_SLOPE = log(expm1(1 - LEAST_SLOPE))
#: The largest logarithm of a scale, which no step of training can make overflow.
LARGEST_LOG_SCALE = 3.0

#: A result, and log |d result / d argument|.
Mapped = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Knots:
    """Where a spline goes through: places, heights and slopes at K + 1 knots, (..., K + 1) each, in rising order."""

    x: Tensor
    y: Tensor
    slope: Tensor

    @classmethod
    def of(cls, parameters: Tensor, low: float, high: float, tails: bool) -> Knots:
        """Knots on [low, high] squared from free numbers; all 0 means the identity.

        Args:
            parameters: (..., P), see `count`.
            low, high: the interval, which the spline maps to itself.
            tails: whether the slope at both ends is 1, so that the identity continues the spline outside.
        """
        bins = (parameters.shape[-1] + (1 if tails else -1)) // 3
        widths, heights, slopes = parameters.split([bins, bins, parameters.shape[-1] - 2 * bins], -1)
        slope = LEAST_SLOPE + softplus(slopes + UNIT_SLOPE)
        return cls(
            _edges(widths, low, high), _edges(heights, low, high), pad(slope, (1, 1), value=1.0) if tails else slope
        )

    @staticmethod
    def count(bins: int, tails: bool) -> int:
        """How many free numbers make the knots of so many bins."""
        return 3 * bins - 1 if tails else 3 * bins + 1

    def map(self, x: Tensor) -> Mapped:
        """The spline at x, (...), which is the identity outside the interval (equations 4 and 5)."""
        inside = (x >= self.x[..., 0]) & (x <= self.x[..., -1])
        left, width, bottom, height, slope_0, slope_1 = self._bin(self.x, x)
        steep, share = height / width, ((x - left) / width).clamp(0, 1)
        both = share * (1 - share)
        bottom_up = steep + (slope_1 + slope_0 - 2 * steep) * both
        y = bottom + height * (steep * share**2 + slope_0 * both) / bottom_up
        top = slope_1 * share**2 + 2 * steep * both + slope_0 * (1 - share) ** 2
        log_slope = 2 * steep.log() + top.log() - 2 * bottom_up.log()
        return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)

    def unmap(self, y: Tensor) -> Mapped:
        """The inverse of `map` (equations 6 to 8), with the logarithm of its own slope."""
        inside = (y >= self.y[..., 0]) & (y <= self.y[..., -1])
        left, width, bottom, height, slope_0, slope_1 = self._bin(self.y, y)
        steep, rise = height / width, (y - bottom).clamp(min=0).minimum(height)
        bend = rise * (slope_1 + slope_0 - 2 * steep)
        a, b, c = height * (steep - slope_0) + bend, height * slope_0 - bend, -steep * rise
        root = (b**2 - 4 * a * c).clamp(min=0).sqrt()
        x = left + width * (2 * c / (-b - root)).clamp(0, 1)
        x = torch.where(inside, x, y)
        return x, -self.map(x)[1]

    def _bin(self, edges: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Left, width, bottom, height and both slopes of the bin in which each value lies."""
        number = torch.searchsorted(edges[..., 1:-1].contiguous(), value[..., None].contiguous(), right=True)

        def at(knots: Tensor, offset: int) -> Tensor:
            return knots.gather(-1, number + offset).squeeze(-1)

        left, bottom = at(self.x, 0), at(self.y, 0)
        return left, at(self.x, 1) - left, bottom, at(self.y, 1) - bottom, at(self.slope, 0), at(self.slope, 1)


def _edges(logits: Tensor, low: float, high: float) -> Tensor:
    """Edges of bins with shares given by logits, (..., K) to (..., K + 1)."""
    shares = LEAST_SHARE + (1 - LEAST_SHARE * logits.shape[-1]) * torch.softmax(logits, -1)
    inner = low + (high - low) * shares.cumsum(-1)[..., :-1]
    return pad(pad(inner, (1, 0), value=low), (0, 1), value=high)


class Transform(ABC):
    """An invertible function of one number, given P parameters; all 0 means the identity."""

    @property
    @abstractmethod
    def count(self) -> int:
        """P."""

    @abstractmethod
    def map(self, x: Tensor, parameters: Tensor) -> Mapped:
        """The result and the logarithm of the slope, (B, E) each, from (B, E) and (B, E, P)."""

    @abstractmethod
    def unmap(self, y: Tensor, parameters: Tensor) -> Mapped:
        """The inverse of `map`, with the logarithm of its own slope."""


class Affine(Transform):
    """A shift and a scale (Dinh et al., arXiv 1605.08803)."""

    count = 2

    def map(self, x: Tensor, parameters: Tensor) -> Mapped:
        """x exp(s) + b."""
        log_scale, shift = _scale_and_shift(parameters)
        return x * log_scale.exp() + shift, log_scale

    def unmap(self, y: Tensor, parameters: Tensor) -> Mapped:
        """(y - b) exp(-s)."""
        log_scale, shift = _scale_and_shift(parameters)
        return (y - shift) * (-log_scale).exp(), -log_scale


class Spline(Transform):
    """A shift and a scale, then a spline on [-reach, reach] with the identity outside.

    Args:
        bins: of the spline.
        reach: half of its interval, for numbers of unit scale.
    """

    def __init__(self, bins: int, reach: float) -> None:
        self.bins, self.reach, self.affine = bins, reach, Affine()

    @property
    def count(self) -> int:
        """Those of the affine function and of the knots."""
        return self.affine.count + Knots.count(self.bins, tails=True)

    def _knots(self, parameters: Tensor) -> Knots:
        return Knots.of(parameters[..., self.affine.count :], -self.reach, self.reach, tails=True)

    def map(self, x: Tensor, parameters: Tensor) -> Mapped:
        """The spline of the affine function."""
        between, first = self.affine.map(x, parameters)
        y, second = self._knots(parameters).map(between)
        return y, first + second

    def unmap(self, y: Tensor, parameters: Tensor) -> Mapped:
        """The affine function's inverse of the spline's."""
        between, second = self._knots(parameters).unmap(y)
        x, first = self.affine.unmap(between, parameters)
        return x, first + second


def _scale_and_shift(parameters: Tensor) -> tuple[Tensor, Tensor]:
    log_scale = LARGEST_LOG_SCALE * torch.tanh(parameters[..., 0] / LARGEST_LOG_SCALE)
    return log_scale, parameters[..., 1]
