"""A mistake that leaves nothing to check is said once, not once for each check."""

from molgen import Axis, Categorical, Domain, Encoder, Real
from molgen.testing import checks_of, run_checks
from molgen.testing.checks import Outcome


class Spaceless(Domain, Encoder):
    """Declares channels as a number, which are a tuple."""

    molgen_api = 1

    def examples(self):
        return ["a"]

    @property
    def space(self):
        return {"x": Categorical((Axis("length", maximum=3),), classes=2), "y": Real((), channels=1)}

    def encode(self, item):
        return {}

    def decode(self, sample):
        return "a"


def test_a_space_that_cannot_be_made_is_said_once():
    results = list(run_checks(checks_of(Spaceless)))
    failed = [result for result in results if result.outcome is Outcome.FAILED]
    assert [result.reason for result in failed] == ["ValueError: channels are a tuple, such as (1,), not 1"]
    assert sum(result.outcome is Outcome.SKIPPED for result in results) > 50
