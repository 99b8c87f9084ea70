"""Sets of words that evaluations compare, and their figures by label."""

from __future__ import annotations

from molgen.domain import Invalid
from molgen.evaluation.evaluate import ItemSet

ROWS = ["cat", "Cat", Invalid("an empty line"), "house", "7", "dog"]
REFERENCE = ["bird", "fish"]
TRAINING = ["DOG", "cow"]


def item_set(name, items, digest=None):
    return ItemSet(name, lambda: iter(items), digest or repr((name, items)))


def by_label(figures):
    return {figure.label: figure for figure in figures}


def values(figures):
    return {figure.label: figure.estimate.value for figure in figures}
