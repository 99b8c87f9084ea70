"""The page of all that a plugin can say names everything that there is."""

import re
from pathlib import Path

import pytest
from torch import nn

from molgen import Backbone, CausalBackbone, Dataset, Domain, Encoder, Family, Metric, Summary
from molgen.kinds import PRIMITIVES
from molgen.registry import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`(?:State\.)?(\w+)`", PAGE))


@pytest.mark.parametrize("contract", [Domain, Encoder, Family, Backbone, CausalBackbone, Dataset, Metric, Summary])
def test_every_hook_of_a_contract_is_named(contract):
    hooks = {name for name in dir(contract) if not name.startswith("_")} - set(dir(nn.Module))
    missing = sorted(hooks - NAMED - {"molgen_api"})
    assert not missing, f"docs/plugins.md does not name {', '.join(missing)} of {contract.__name__}"


def test_every_group_and_primitive_is_named():
    assert {f"`molgen.{kind}`" in PAGE for kind in KINDS} == {True}
    assert set(PRIMITIVES) <= NAMED
