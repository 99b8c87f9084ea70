"""Small drawings that show the range of the domain. They are computed, so that no file ships with the package."""

from __future__ import annotations

import hashlib

import numpy as np

from molgen.domain import Item

#: Ten digits of seven segments, a bit for each: top (the highest), upper left, upper right, middle, lower left,
#: lower right, bottom.
_SEGMENTS = (119, 18, 93, 91, 58, 107, 111, 82, 127, 123)


def examples() -> list[Item]:
    """Ten digits of 28 by 28, a ring, a ramp, noise, a single pixel, and pictures in colour."""
    noise = np.frombuffer(hashlib.shake_256(b"noise").digest(256), np.uint8).reshape(16, 16)
    ramp = np.tile(np.arange(32, dtype=np.uint8) * 8, (24, 1))
    coloured = np.stack([ring(20), digit(3)[4:24, 4:24], 255 - ring(20)], axis=-1)
    dot, black = np.array([[128]], np.uint8), np.zeros((4, 6, 3), np.uint8)
    return [*map(digit, range(10)), ring(28), ramp, noise, dot, coloured, black]


def digit(number: int) -> np.ndarray:
    """A digit in white on black, uint8 (28, 28)."""
    canvas = np.zeros((28, 28), np.uint8)
    places = ((4, 9, 2, 10), (5, 8, 9, 2), (5, 18, 9, 2), (13, 9, 2, 10), (14, 8, 9, 2), (14, 18, 9, 2), (22, 9, 2, 10))
    for place, (top, left, height, width) in enumerate(places):
        if _SEGMENTS[number] >> (6 - place) & 1:
            canvas[top : top + height, left : left + width] = 255
    return canvas


def ring(side: int) -> np.ndarray:
    """A soft ring in shades of grey, uint8 (side, side)."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    distance = np.abs(np.hypot(x, y) - side / 3)
    return (255 * np.exp(-((distance / 2.5) ** 2))).astype(np.uint8)


def blocks(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random squares, seven of them along the shorter side or fewer, uint8 of the shape (H, W) or (H, W, 3)."""
    side = max(1, min(shape[:2]) // 7)
    few = rng.integers(0, 2, (-(-shape[0] // side), -(-shape[1] // side), *shape[2:]), dtype=np.uint8) * np.uint8(255)
    return np.ascontiguousarray(few.repeat(side, 0).repeat(side, 1)[: shape[0], : shape[1]])
