"""Which draws and which shards there are: arithmetic of a recipe, the same whoever does it, and in whatever order.

A part is a range of draws, whose candidates one worker makes in one go; a shard is a file of the finished set.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from molgen.seeding import Rng
from molgen_datasets.synthetic.folder import DATA
from molgen_datasets.synthetic.recipe import Recipe

#: The most and the fewest draws of a part.
MOST, FEWEST = 16_384, 64
#: The share of the set that is drawn before anything is known of how much is accepted.
PILOT = 8
#: Draws after which the share of accepted ones is looked at, and the least share to go on with.
PATIENCE, LEAST_ACCEPTANCE = 10_000, 0.001
#: How many times what was drawn before may be drawn in one round.
GROWTH = 8


def part_size(recipe: Recipe) -> int:
    """Draws of a part: few for a small set, so that it needs no more than it has to."""
    return max(FEWEST, min(MOST, math.ceil(recipe.count / PILOT)))


def draws_of(recipe: Recipe, part: int) -> list[range]:
    """The numbers of the draws of each model in a part; each model counts its own."""
    size, ends = part_size(recipe), _cumulative([one.weight for one in recipe.mixture])
    begin, stop = part * size, (part + 1) * size
    firsts = [(math.floor(begin * end), math.floor(stop * end)) for end in ends]
    return [range(a[0] - b[0], a[1] - b[1]) for b, a in pairwise(firsts)]


def _cumulative(weights: Sequence[float]) -> list[Fraction]:
    exact = [Fraction(weight) for weight in weights]
    return [Fraction(0), *(end / sum(exact) for end in accumulate(exact))]


def order_of(recipe: Recipe, part: int) -> np.ndarray:
    """The order in which the draws of all models, behind each other, become rows: they are shuffled, (draws,)."""
    size = part_size(recipe)
    if len(recipe.mixture) == 1:
        return np.arange(size)
    numbers = Rng(recipe.seed, range(part * size, (part + 1) * size)).uniform("order of a mixture")
    return np.argsort(numbers.numpy(), kind="stable")


def sampling_seed(fingerprint: str, seed: int, model: int) -> int:
    """The seed of one model of a recipe: 63 bits that depend on all that the set follows from."""
    text = f"{fingerprint}/{seed}/{model}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


# --- how many parts -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """What is known after some parts: how many there are, and how many rows of them belong to the set."""

    parts: int
    kept: int


def first_round(recipe: Recipe) -> int:
    """How many parts are made before anything is known."""
    return min(math.ceil(recipe.count / PILOT / part_size(recipe)), _most(recipe))


def next_round(recipe: Recipe, rounds: Sequence[Round]) -> int | None:
    """How many parts there must be in all to go on with; None where it is to stop, with enough or without.

    It depends on what was counted only, so that another run, or one that goes on, makes the same parts.
    """
    now, before = rounds[-1], rounds[-2] if len(rounds) > 1 else Round(0, 0)
    missing, most = recipe.count - now.kept, _most(recipe)
    if missing <= 0 or now.parts >= most or is_hopeless(recipe, rounds):
        return None
    gained, made = now.kept - before.kept, now.parts - before.parts
    wanted = math.ceil(1.02 * missing * made / gained) if gained else most
    return min(most, now.parts + min(wanted, GROWTH * now.parts))


def is_hopeless(recipe: Recipe, rounds: Sequence[Round]) -> bool:
    """Whether nearly nothing of the last draws was accepted, of which there were enough to tell."""
    now = rounds[-1]
    if recipe.max_draws is not None:  # who names a limit wants to get there
        return False
    since = next((one for one in reversed(rounds) if (now.parts - one.parts) * part_size(recipe) >= PATIENCE), None)
    begin = since or Round(0, 0)
    draws = (now.parts - begin.parts) * part_size(recipe)
    return draws >= PATIENCE and now.kept - begin.kept < LEAST_ACCEPTANCE * draws


def _most(recipe: Recipe) -> int:
    return math.ceil(recipe.max_draws / part_size(recipe)) if recipe.max_draws is not None else 1 << 62


# --- shards ---------------------------------------------------------------------------------------


def shards(splits: Mapping[str, int], size: int, ending: str) -> list[dict[str, Any]]:
    """The shards of the finished set: where each lies, and which rows of its split it has.

    Args:
        splits: the rows of each split, by name and in order.
        size: rows of a shard.
        ending: of the name of a file; empty for a folder.
    """
    found = []
    for code, (split, rows) in enumerate(splits.items()):
        count = math.ceil(rows / size)
        for number in range(count):
            name = f"{split}-{number:05d}-of-{count:05d}{ending}"
            stop = min(rows, (number + 1) * size)
            found.append({"path": f"{DATA}/{name}", "split": split, "code": code, "start": number * size, "stop": stop})
    return found
