"""Partition functions as means of weights.

Letters in shapes: N weights.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

#: Rows that are drawn or run at a time, where one row of ours needs many.
AT_A_TIME = 2048


def log_mean_exp(values: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of the mean of exp over the first dimension, and its standard error by the delta method.

    Args:
        values: (N, ...) in float64.
    """
    count = len(values)
    log_mean = values.logsumexp(0) - log(count)
    spread = (values - log_mean).exp().std(0) if count > 1 else torch.full_like(log_mean, torch.inf)
    return log_mean, spread / count**0.5
