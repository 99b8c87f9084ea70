"""The conformance kit: what an encoder, a family, a network, a data set or a metric guarantees, as named checks.

`parametrize_with_checks` gives them to a pytest test, `run_checks` and `molgen plugins check NAME` run them without
pytest. `import molgen` does not import this package.
"""

from molgen.testing.checks import Check, CheckFailed, Outcome, Result, Skipped, run_checks
from molgen.testing.pytest import parametrize_with_checks
from molgen.testing.spaces import SPACES, Case
from molgen.testing.suites import (
    backbone_checks,
    checks_of,
    dataset_checks,
    encoder_checks,
    family_checks,
    metric_checks,
    pair_checks,
)

__all__ = [
    "SPACES",
    "Case",
    "Check",
    "CheckFailed",
    "Result",
    "Skipped",
    "Outcome",
    "backbone_checks",
    "checks_of",
    "dataset_checks",
    "encoder_checks",
    "family_checks",
    "metric_checks",
    "pair_checks",
    "parametrize_with_checks",
    "run_checks",
]
