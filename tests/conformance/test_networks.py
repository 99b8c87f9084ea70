"""Every network keeps its guarantees, by itself and in every family that it serves."""

from molgen import registry
from molgen.backbone import DEFAULTS, CausalBackbone
from molgen.testing import backbone_checks, family_checks, parametrize_with_checks


def others(family):
    """The networks that serve a family, but not by default."""
    causal = registry.get("family", family).causal
    defaults = {names[0 if causal else 1] for names in DEFAULTS.values()}
    for name in registry.names("backbone"):
        backbone = registry.get("backbone", name)
        serves = backbone.causal if causal else not issubclass(backbone, CausalBackbone)
        if serves and name not in defaults:
            yield name


FAMILIES = registry.names("family")


@parametrize_with_checks(*(backbone_checks(name) for name in registry.names("backbone")))
def test_backbone(check):
    check()


@parametrize_with_checks(*(family_checks(family) for family in FAMILIES))
def test_family_on_its_default_networks(check):
    check()


@parametrize_with_checks(*(family_checks(family, backbone=name) for family in FAMILIES for name in others(family)))
def test_family_on_other_networks(check):
    check()
