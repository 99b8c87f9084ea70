"""The kit finds what is broken: each check fails for something that breaks its guarantee and nothing else."""

import pytest
import torch
from broken import backbones, encoders, families, flows
from support.toys import Points, Tokens, Toy

from molgen.batch import separate
from molgen.domain import Encoder
from molgen.errors import UnsupportedSpace
from molgen.families.autoregressive import Autoregressive
from molgen.space import Axis, Categorical, Field, Real
from molgen.testing import (
    SPACES,
    Check,
    CheckFailed,
    Outcome,
    Skipped,
    backbone_checks,
    checks_of,
    encoder_checks,
    family_checks,
    pair_checks,
    parametrize_with_checks,
    run_checks,
)
from molgen.testing import suites as collection
from molgen.testing.random_samples import draw_samples, enumerate_space


def failures(checks):
    return {result.check.name: result.reason for result in run_checks(checks) if result.outcome is Outcome.FAILED}


def each(table):
    return pytest.mark.parametrize(("part", "expected"), table.items(), ids=[part.__name__ for part in table])


# --- every check is needed ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@each(encoders.BROKEN)
def test_a_broken_encoder_fails_its_check_and_no_other(part, expected):
    assert set(failures(encoder_checks(part))) == expected


@each(families.BROKEN)
def test_a_broken_family_fails_its_check_and_no_other(part, expected):
    assert set(failures(family_checks(part, Tokens))) == expected


#: Spaces of numbers, with classes, sizes and a centre beside them.
OF_NUMBERS = ("record", "signal", "set", "points")


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_a_wrong_density_of_numbers_is_found(name):
    assert failures(family_checks(flows.Gaussians, SPACES[name])) == {}
    halved = failures(family_checks(flows.HalvedLogDeterminant, SPACES[name]))
    assert set(halved) == {"probabilities_sum_to_one", "samples_follow_the_density"}
    # Samples that are too wide are found in some spaces, and nothing else in any.
    hot = failures(family_checks(flows.HotterThanItsDensity, SPACES[name]))
    assert set(hot) == ({"samples_follow_the_density"} if name in ("record", "set") else set())


NEEDY = """
from dataclasses import dataclass
from molgen.families.autoregressive import Autoregressive

class Needy(Autoregressive):
    @dataclass(frozen=True)
    class Config:
        partner: str
"""


def test_a_family_that_needs_a_setting_is_skipped_with_that_reason(fake_distribution):
    fake_distribution("molgen-needy", "1.0", {"family": {"needy": "needy_x:Needy"}}, {"needy_x": NEEDY})
    results = list(run_checks(pair_checks(Tokens, ["needy"])))
    assert {(r.outcome, r.reason) for r in results} == {
        (Outcome.SKIPPED, "the family needy needs the settings partner"),
    }


@each(backbones.BROKEN)
def test_a_broken_network_fails_its_check_and_no_other(part, expected):
    assert set(failures(backbone_checks(part, {"set": SPACES["set"]}))) == expected


@each(backbones.BROKEN_CAUSAL)
def test_a_broken_causal_network_fails_its_check_and_no_other(part, expected):
    assert set(failures(backbone_checks(part, {"words": SPACES["words"]}))) == expected


def test_what_does_not_turn_is_found():
    space = {"points": SPACES["points"]}
    assert failures(backbone_checks(backbones.Turning, space)) == {}
    assert set(failures(backbone_checks(backbones.DoesNotTurn, space))) == {"outputs_turn_with_space"}


def test_a_family_that_takes_nothing_is_found():
    assert set(failures(family_checks(families.RefusesAllSpaces))) == {"takes_some_space"}


@pytest.mark.parametrize(
    ("guarantees", "tables"),
    [
        (collection.ENCODER_CHECKS, [encoders.BROKEN]),
        (collection.FAMILY_CHECKS, [families.BROKEN]),
        (collection.BACKBONE_CHECKS, [backbones.BROKEN, {backbones.DoesNotTurn: {"outputs_turn_with_space"}}]),
        (collection.CAUSAL_CHECKS, [backbones.BROKEN_CAUSAL]),
    ],
    ids=["encoder", "family", "backbone", "causal"],
)
def test_every_check_is_broken_by_something(guarantees, tables):
    broken = {name for table in tables for names in table.values() for name in names}
    assert {guarantee.__name__ for guarantee in guarantees} <= broken
    assert all(guarantee.__doc__ for guarantee in guarantees)


# --- messages -------------------------------------------------------------------------------------


def test_a_message_says_what_is_wrong_and_by_how_much():
    (reason,) = failures(encoder_checks(encoders.ClassOutside)).values()
    assert reason == "letters holds the classes 1 to 3, and has 0 to 2"
    (reason,) = failures(encoder_checks(encoders.Backwards)).values()
    assert reason == "'ab' comes back as 'ba'"
    (reason,) = failures(family_checks(families.RefusesAllSpaces)).values()
    assert reason == "all small spaces are refused: this family takes nothing at all"


class TakesNoPoints(Autoregressive):
    """A family that says which spaces it does not take."""

    def __init__(self, space, build, config, condition=None):
        if any(isinstance(field, Real) and field.rotates for field in space.values()):
            raise UnsupportedSpace("this family takes nothing that rotates")
        super().__init__(space, build, config, condition)


def test_what_is_not_declared_is_skipped_with_the_reason():
    results = {r.check.name: r for r in run_checks(family_checks(Autoregressive, Tokens))}
    assert results["latents_have_their_space"].outcome is Outcome.SKIPPED
    assert "Capability.latent" in results["latents_have_their_space"].reason
    coupled = next(c for c in family_checks(families.DeclaredCoupledLoss, Tokens) if c.name == "loss_is_per_item")
    with pytest.raises(Skipped, match=r"Capability\.coupled"):
        coupled()
    results = list(run_checks(family_checks(TakesNoPoints, Points)))
    assert {result.outcome for result in results} == {Outcome.SKIPPED}
    assert all(result.reason for result in results)


class Unheard(Field):
    """A kind of field that a third party has not taught the kit to draw."""


class OfUnheard(Toy):
    space = {"x": Unheard()}  # noqa: RUF012

    def examples(self):
        return [0]

    def encode(self, item):
        return {"x": torch.tensor(item).numpy()}

    def decode(self, sample):
        return int(sample["x"])


def test_a_kind_of_field_that_nothing_draws_is_skipped_by_name():
    results = {r.check.name: r for r in run_checks(encoder_checks(OfUnheard))}
    assert results["decode_never_raises"].outcome is Outcome.SKIPPED
    assert "Unheard" in results["decode_never_raises"].reason
    # One number for each place is what every kind of field has that says nothing else.
    assert results["batches_come_back"].outcome is Outcome.OK


def test_a_check_that_raises_does_not_stop_the_others():
    def broken():
        raise RuntimeError("two\nlines")

    results = list(run_checks([Check("first", broken), Check("second", lambda: None)]))
    assert [result.outcome for result in results] == [Outcome.FAILED, Outcome.OK]
    assert results[0].reason == "RuntimeError: two lines"


# --- random and complete samples ------------------------------------------------------------------


def test_random_samples_cover_the_sizes_of_a_space():
    space = SPACES["words"]
    sizes = [len(sample["letters"]) for sample in draw_samples(space, 40, 0)]
    assert sizes[:2] == [0, 3]
    assert set(sizes) == {0, 1, 2, 3}
    assert {len(sample["letters"]) for sample in draw_samples(space, 40, 0, {"length": 1})} == {0, 1}


COUNTS = {"words": 40, "classes": 6, "bitmap": 64, "picture": 64, "graph": 74}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_all_samples_of_a_space_are_listed_once(name, count):
    space = SPACES[name]
    listed = [str(sample) for batch, _ in enumerate_space(space) for sample in separate(space, batch)]
    assert len(listed) == len(set(listed)) == count


def test_integrals_are_taken_over_numbers():
    space = SPACES["record"]
    total = 0.0
    for batch, weights in enumerate_space(space):
        density = torch.distributions.Normal(0.0, 1.0).log_prob(batch.fields["height"]).exp() / 3
        total += float((density * weights).sum())
    assert total == pytest.approx(1, abs=1e-6)


def test_a_large_space_is_not_enumerated():
    with pytest.raises(Skipped, match="more samples than the 512"):
        enumerate_space({"x": Categorical((Axis("n", 40),), classes=9)})


# --- pytest ---------------------------------------------------------------------------------------


def test_expected_failures_are_strict():
    mark = parametrize_with_checks(Tokens(), expected_failures={"decode_inverts_encode": "lossy"}).mark
    marks = {parameter.values[0].name: parameter.marks for parameter in mark.args[1] if parameter.marks}
    assert set(marks) == {"decode_inverts_encode"}
    (xfail,) = marks["decode_inverts_encode"]
    assert xfail.name == "xfail"
    assert xfail.kwargs == {"reason": "lossy", "strict": True}


def test_an_expected_failure_of_no_check_is_refused():
    with pytest.raises(ValueError, match="there is no check decode_inverts_encodings"):
        parametrize_with_checks(Tokens(), expected_failures={"decode_inverts_encodings": "lossy"})


def test_names_are_unique_and_say_what_is_checked():
    ids = [check.id for check in checks_of(Tokens)]
    assert len(ids) == len(set(ids))
    assert "Tokens: decode_inverts_encode" in ids
    assert "autoregressive over Tokens: loss_is_per_item" in ids


@pytest.mark.parametrize(
    "over", [Tokens, Tokens(), {"letters": Categorical(classes=2)}], ids=["class", "instance", "space"]
)
def test_a_family_may_be_checked_over_anything_that_has_a_space(over):
    checks = {check.name: check for check in family_checks("autoregressive", over, backbone="transformer")}
    checks["loss_is_per_item"]()
    assert checks["loss_is_per_item"].about.startswith("autoregressive on transformer over ")


def test_an_encoder_of_no_known_domain_needs_items():
    class Alone(Encoder):
        space = Tokens.space

        def encode(self, item):
            return Tokens().encode(item)

        def decode(self, sample):
            return Tokens().decode(sample)

    check = next(check for check in encoder_checks(Alone()) if check.name == "decode_inverts_encode")
    with pytest.raises(ValueError, match="Alone belongs to no domain that is known"):
        check()
    next(check for check in encoder_checks(Alone(), ["a", "cab"]) if check.name == "decode_inverts_encode")()


def test_a_failed_check_is_an_assertion():
    assert issubclass(CheckFailed, AssertionError)
