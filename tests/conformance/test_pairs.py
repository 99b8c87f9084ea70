"""Every family keeps its guarantees over every encoder: those that are installed, and the toys."""

from support.toys import TOYS

from molgen import registry
from molgen.testing import pair_checks, parametrize_with_checks


@parametrize_with_checks(*(pair_checks(part) for part in [*registry.names("encoder"), *TOYS]))
def test_family_over_encoder(check):
    check()
