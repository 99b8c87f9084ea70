"""Which checks there are of what: of an encoder, of a family, of a network. Listing them imports no plugin but the one.

A part is given by its registry name, as a class, or as an encoder with settings of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from molgen import registry
from molgen.backbone import Backbone, CausalBackbone
from molgen.config import part_class
from molgen.dataset import Dataset
from molgen.domain import Encoder, Item
from molgen.errors import PluginError, UsageError
from molgen.family import Family
from molgen.metric import Metric
from molgen.space import Layout, Space, layout
from molgen.testing import backbones, causal_backbones, datasets, densities, encoders, families, metrics
from molgen.testing.checks import Check, CheckFailed, Skipped
from molgen.testing.datasets import DatasetTrial
from molgen.testing.encoders import EncoderTrial, encoder_trial
from molgen.testing.fixtures import BackboneTrial, FamilyTrial, missing_settings, tiny_config
from molgen.testing.metrics import MetricTrial
from molgen.testing.spaces import LONG_SPACES, SPACES, Case

#: The guarantees of an encoder.
ENCODER_CHECKS: tuple[Callable[[EncoderTrial], None], ...] = (
    encoders.speaks_the_plugin_api,
    encoders.space_is_declared,
    encoders.examples_encode_into_the_space,
    encoders.decode_inverts_encode,
    encoders.decode_never_raises,
    encoders.decoded_items_can_be_judged,
    encoders.decoded_items_encode_again,
    encoders.made_up_items_are_items,
    encoders.batches_come_back,
    encoders.preparing_twice_changes_nothing,
    encoders.state_survives_json,
    encoders.can_be_pickled,
)

#: The guarantees of a family over one space.
FAMILY_CHECKS: tuple[Callable[[FamilyTrial], None], ...] = (
    families.loss_is_a_finite_number_per_item,
    families.every_parameter_has_a_phase,
    families.gradients_reach_every_parameter,
    families.loss_repeats_with_its_seed,
    families.loss_is_per_item,
    families.padding_changes_nothing,
    families.training_stays_finite,
    families.can_be_copied,
    families.training_state_comes_back,
    families.weights_come_back,
    families.samples_lie_in_the_space,
    families.samples_repeat_with_their_seed,
    families.sizes_are_honoured,
    families.conditions_may_have_gaps,
    families.known_parts_are_kept,
    families.unknown_options_are_refused,
    families.log_density_is_as_declared,
    families.log_density_is_per_item,
    densities.probabilities_sum_to_one,
    densities.samples_follow_the_density,
    densities.latents_have_their_space,
)

#: Those of them that are checked over long sequences too, where each costs seconds.
LONG_CHECKS: tuple[Callable[[FamilyTrial], None], ...] = (
    families.loss_is_a_finite_number_per_item,
    families.gradients_reach_every_parameter,
    families.log_density_is_as_declared,
    families.one_sample_lies_in_the_space,
)

#: The guarantees of a network that reads all elements at once.
BACKBONE_CHECKS: tuple[Callable[[BackboneTrial], None], ...] = (
    backbones.outputs_have_their_shape,
    backbones.padding_changes_nothing,
    backbones.rows_do_not_see_each_other,
    backbones.outputs_move_with_unordered_elements,
    backbones.outputs_turn_with_space,
    backbones.classes_may_be_floats,
    backbones.time_is_of_rows_or_fields,
    backbones.conditions_may_have_gaps,
    backbones.gradients_reach_every_parameter,
    backbones.weights_come_back,
)

#: The guarantees of a network along the generation order.
CAUSAL_CHECKS: tuple[Callable[[BackboneTrial], None], ...] = (
    causal_backbones.outputs_have_their_shape,
    causal_backbones.slices_one_by_one_equal_all_at_once,
    causal_backbones.a_state_can_lose_rows,
    causal_backbones.outputs_see_earlier_slices_only,
    causal_backbones.rows_do_not_see_each_other,
    causal_backbones.conditions_may_have_gaps,
    causal_backbones.gradients_reach_every_parameter,
)

#: The guarantees of a data set.
DATASET_CHECKS: tuple[Callable[[DatasetTrial], None], ...] = (
    datasets.speaks_the_plugin_api,
    datasets.describes_itself,
    datasets.digests_tell_splits_apart,
    datasets.unknown_splits_are_refused,
    datasets.items_are_as_many_as_declared,
    datasets.items_keep_their_order,
    datasets.items_are_of_the_domain,
    datasets.splits_share_no_item,
)

#: The guarantees of a metric.
METRIC_CHECKS: tuple[Callable[[MetricTrial], None], ...] = (
    metrics.speaks_the_plugin_api,
    metrics.says_what_it_compares,
    metrics.chunks_do_not_matter,
    metrics.estimates_repeat_with_their_seed,
    metrics.the_interval_holds_the_value,
    metrics.nothing_has_no_value,
    metrics.summaries_are_arrays_of_numbers,
)

_TAKES_SOME = "At least one of the small spaces of `molgen.testing.SPACES` is not refused."

#: A part of which there are checks: its registry name, its class, or an encoder with settings of its own.
Part = str | type[Encoder] | type[Family] | type[Backbone] | type[Dataset] | type[Metric] | Encoder
#: Over what a family is checked: samples of an encoder, a space, or a case with samples.
Over = str | type[Encoder] | Encoder | Space | Case


def checks_of(part: Part, kind: registry.Kind | None = None) -> Iterator[Check]:
    """All checks of one part; an encoder is checked by itself and under every family that is installed.

    Args:
        part: a registry name, a class, or an encoder with settings of its own.
        kind: what a name means, where it is the name of more than one thing.

    Raises:
        PluginError: nothing has the name, or it cannot be imported.
        UsageError: there are no checks of such a part.
    """
    yield from _CHECKS[kind or _kind(part)](part)


def _kind(part: Part) -> registry.Kind:
    if isinstance(part, str):
        return _kind_called(part)
    cls = part if isinstance(part, type) else type(part)
    for kind, base in _BASES.items():
        if issubclass(cls, base):
            return kind
    raise UsageError(f"there are checks of {', '.join(_CHECKS)}; {cls.__name__} is none of them")


def _kind_called(name: str) -> registry.Kind:
    """What a name is the name of; a domain that is its own encoder counts as one."""
    for kind in registry.KINDS:
        if any(name in (plugin.name, f"{plugin.distribution}:{plugin.name}") for plugin in registry.plugins(kind)):
            return kind
    known = sorted({known for kind in _CHECKS for known in registry.names(kind)})
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise PluginError(f"no plugin is named {name!r}{hint} All there are: molgen plugins list")


def encoder_checks(encoder: str | type[Encoder] | Encoder, items: Sequence[Item] = ()) -> Iterator[Check]:
    """The checks of an encoder by itself.

    Args:
        encoder: a registry name, a class, or one with settings of its own.
        items: what is encoded; by default the examples of its domain.
    """
    trial = _once(partial(_with_space, encoder, items))
    yield from _checks(ENCODER_CHECKS, trial, _name(encoder))


def _with_space(encoder: str | type[Encoder] | Encoder, items: Sequence[Item]) -> EncoderTrial:
    """The trial of an encoder that has a space, without which nothing can be checked."""
    trial = encoder_trial(encoder, items)
    _ = trial.space
    return trial


def family_checks(
    family: str | type[Family], over: Over | None = None, backbone: str | type[Backbone] | None = None
) -> Iterator[Check]:
    """The checks of a family over one space.

    Args:
        family: a registry name or a class; its attribute `molgen_tiny` may hold small settings.
        over: what it is trained on, by default random samples of each of `SPACES` that its networks read.
        backbone: its networks; by default those that serve the layout.
    """
    cls = registry.get("family", family) if isinstance(family, str) else family
    network = registry.get("backbone", backbone) if isinstance(backbone, str) else backbone
    about = f"{_name(family)} on {_name(backbone)}" if backbone else _name(family)
    if over is not None:
        trial = cache(lambda: FamilyTrial(cls, tiny_config(cls), _case(over), network))
        yield from _checks(FAMILY_CHECKS, trial, f"{about} over {_name(over)}")
        return
    layouts = list(Layout) if network is None else network.layouts
    spaces = {name: space for name, space in SPACES.items() if layout(space) in layouts}
    trials = [FamilyTrial(cls, tiny_config(cls), Case.of(name, space), network) for name, space in spaces.items()]
    yield Check("takes_some_space", lambda: _takes_some(trial.family for trial in trials), about, _TAKES_SOME)
    for each in trials:
        yield from _checks(FAMILY_CHECKS, partial(_itself, each), f"{about} over {each.case.name}")
    if network is None:
        for name, space in LONG_SPACES.items():
            each = FamilyTrial(cls, tiny_config(cls), Case.of(name, space))
            yield from _checks(LONG_CHECKS, partial(_itself, each), f"{about} over {name}")


def _case(over: Over) -> Case:
    if isinstance(over, Case):
        return over
    if isinstance(over, Mapping):
        return Case.of("a space", over)
    return encoder_trial(over, tiny=True).case


def _takes_some(makers: Iterable[Callable[[], object]]) -> None:
    """At least one of the small spaces is not refused."""
    reasons = []
    for make in makers:
        try:
            make()
        except Skipped as reason:
            reasons.append(str(reason))
        else:
            return
    raise CheckFailed(f"all small spaces are refused: {'; '.join(dict.fromkeys(reasons))}")


def pair_checks(encoder: str | type[Encoder] | Encoder, families: Iterable[str] | None = None) -> Iterator[Check]:
    """The checks of families over what an encoder makes of its examples; by default of all that are installed."""
    yield from _pairs(encoder, families, _once(partial(_case, encoder)))


def _pairs(encoder: Any, families: Iterable[str] | None, case: Callable[[], Case]) -> Iterator[Check]:
    for family in registry.names("family") if families is None else families:
        trial = cache(partial(_pair, family, case))
        yield from _checks(FAMILY_CHECKS, trial, f"{family} over {_name(encoder)}")


def _pair(family: str, case: Callable[[], Case]) -> FamilyTrial:
    try:
        cls = registry.get("family", family)
    except PluginError as error:  # the fault of the family, and no encoder's
        raise Skipped(str(error)) from error
    if missing := missing_settings(cls):
        raise Skipped(f"the family {family} needs the settings {', '.join(missing)}")
    return FamilyTrial(cls, tiny_config(cls), case())


def backbone_checks(backbone: str | type[Backbone], spaces: Mapping[str, Space] = SPACES) -> Iterator[Check]:
    """The checks of a network over some spaces, in every way in which it runs.

    Args:
        backbone: a registry name or a class; its attribute `molgen_tiny` may hold small settings.
        spaces: by name.
    """
    cls: type[Backbone] = registry.get("backbone", backbone) if isinstance(backbone, str) else backbone
    ways = [causal for causal in (False, True) if (cls.causal if causal else not issubclass(cls, CausalBackbone))]
    trials = {
        (name, way): BackboneTrial(cls, tiny_config(cls), space, way) for name, space in spaces.items() for way in ways
    }
    any_trial = next(iter(trials.values()))
    yield from _checks([backbones.foreign_layouts_are_refused], lambda: any_trial, _name(backbone))
    yield Check(
        "takes_some_space",
        lambda: _takes_some(trial.network for trial in trials.values()),
        _name(backbone),
        _TAKES_SOME,
    )
    for (name, way), trial in trials.items():
        about = f"{_name(backbone)} {'in generation order over' if way else 'over'} {name}"
        yield from _checks(CAUSAL_CHECKS if way else BACKBONE_CHECKS, partial(_itself, trial), about)


def dataset_checks(dataset: str | type[Dataset]) -> Iterator[Check]:
    """The checks of a data set, which fetch it where it is not there."""
    cls: type[Dataset] = registry.get("dataset", dataset) if isinstance(dataset, str) else dataset
    yield from _checks(DATASET_CHECKS, partial(_itself, DatasetTrial(cls)), _name(dataset))


def metric_checks(metric: str | type[Metric]) -> Iterator[Check]:
    """The checks of a metric over the examples of the domain that its name begins with, or over words."""
    cls: type[Metric] = registry.get("metric", metric) if isinstance(metric, str) else metric
    domain = metric.rpartition(":")[2].rpartition(".")[0] if isinstance(metric, str) else ""
    yield from _checks(METRIC_CHECKS, partial(_itself, MetricTrial(cls, domain)), _name(metric))


def _itself(trial: Any) -> Any:
    return trial


def _checks(guarantees: Iterable[Callable[[Any], None]], trial: Callable[[], Any], about: str) -> Iterator[Check]:
    for guarantee in guarantees:
        promise = " ".join((guarantee.__doc__ or "").split())
        yield Check(guarantee.__name__, partial(_run, guarantee, trial), about, promise)


def _once(make: Callable[[], Any]) -> Callable[[], Any]:
    """Makes something once; where it cannot be made, the first check says why and the others are skipped."""
    made = cache(make)
    failed = False

    def get() -> Any:
        nonlocal failed
        if failed:
            raise Skipped("what is checked cannot be made, as the first check says")
        try:
            return made()
        except Exception:
            failed = True
            raise

    return get


def _or_skipped(make: Callable[[], Any]) -> Callable[[], Any]:
    """Leaves it to the checks of an encoder to say why it cannot be made."""

    def get() -> Any:
        try:
            return make()
        except Exception as error:
            raise Skipped("the encoder cannot be made, as its own checks say") from error

    return get


def _run(guarantee: Callable[[Any], None], trial: Callable[[], Any]) -> None:
    guarantee(trial())


def _name(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Case):
        return part.name
    if isinstance(part, Mapping):
        return "a space"
    return part.__name__ if isinstance(part, type) else type(part).__name__


def _encoder_and_pairs(encoder: Any) -> Iterator[Check]:
    if isinstance(encoder, str):
        part_class("encoder", encoder)  # a name that leads to none is no failure of a check
    yield from encoder_checks(encoder)
    yield from _pairs(encoder, None, _or_skipped(cache(partial(_case, encoder))))


_BASES: Mapping[registry.Kind, type] = {
    "encoder": Encoder,
    "family": Family,
    "backbone": Backbone,
    "dataset": Dataset,
    "metric": Metric,
}
_CHECKS: Mapping[registry.Kind, Callable[[Any], Iterator[Check]]] = {
    "encoder": _encoder_and_pairs,
    "domain": _encoder_and_pairs,
    "family": family_checks,
    "backbone": backbone_checks,
    "dataset": dataset_checks,
    "metric": metric_checks,
}
