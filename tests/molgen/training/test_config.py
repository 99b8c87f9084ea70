"""Settings of training: their ranges, and the learning rate that follows from them."""

import math
from dataclasses import replace

import pytest

from molgen.training.config import TrainingConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"validation": 1.0},
        {"precision": "fp8"},
        {"seed": -1},
        {"save_every": 0},
        {"clip": math.nan},
        {"clip": 0.0},
        {"learning_rate": 1e30},
        {"learning_rate": -1.0},
        {"learning_rate": math.nan},
        {"weight_decay": math.inf},
        {"beta2": 1.0},
        {"average": math.nan},
        {"average_from": 1.0},
        {"condition_dropout": 1.5},
        {"warmup": -1},
        {"patience": -1},
        {"gradient_shards": 0},
        {"gradient_shards": 10**6},
        {"schedule": "steps"},
    ],
)
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainingConfig(**wrong)


def test_a_line_and_a_cosine_run_over_all_steps():
    config = TrainingConfig(steps=100, warmup=1, learning_rate=1.0)
    steps = (0, 25, 50, 75, 100)
    assert [config.learning_rate_after(step) for step in steps] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    cosine = [replace(config, schedule="cosine").learning_rate_after(step) for step in steps]
    assert cosine == pytest.approx([1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0])
