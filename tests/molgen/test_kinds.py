"""A kind of field is taught in one place, before or after the parts that ask are imported, and refused by name else."""

import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import torch

import molgen
from molgen.backbones.unet.inputs import plane_count, planes
from molgen.errors import UnsupportedSpace, UsageError
from molgen.families.parts.likelihood import likelihood
from molgen.kinds import PRIMITIVES, teach
from molgen.layers.condition_embedding import condition_embedding
from molgen.layers.numbers import Numbers
from molgen.layers.token_embedding import element_embedding
from molgen.space import Field

SOURCES = sorted(Path(molgen.__file__).parent.rglob("*.py"))


@dataclass(frozen=True)
class Angle(Field):
    """An angle at each place."""


class Unheard(Field):
    """A kind of which nothing is said."""


teach(Angle, numbers_of=lambda field: Numbers(2, lambda x: torch.stack([x.sin(), x.cos()], -1)))


def test_the_table_names_every_primitive_where_it_is():
    declared = {}
    for path in SOURCES:
        for name in re.findall(r"^@primitive\ndef (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            module = ".".join(path.relative_to(Path(molgen.__file__).parents[1]).with_suffix("").parts)
            declared[name] = module
    assert declared == dict(PRIMITIVES)
    assert all(import_module(module).__dict__[name].__doc__ for name, module in declared.items())


def test_nothing_else_is_chosen_by_the_kind_of_a_field():
    chosen = [path.name for path in SOURCES if re.search(r"^@singledispatch", path.read_text(), re.MULTILINE)]
    assert chosen == []


def test_one_answer_serves_every_network_and_conditions():
    field, angles = Angle(), torch.tensor([[0.0, torch.pi / 2]])
    assert element_embedding(field, 8)(angles).shape == (1, 2, 8)
    assert condition_embedding(field, 8)(angles).shape == (1, 2, 8)
    assert plane_count(field) == 2
    assert torch.allclose(planes(field, angles), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), atol=1e-6)


@pytest.mark.parametrize(
    "ask",
    [
        likelihood,
        plane_count,
        lambda field: planes(field, torch.zeros(1)),
        lambda field: element_embedding(field, 8),
        lambda field: condition_embedding(field, 8),
    ],
)
def test_what_is_not_taught_is_refused_by_name(ask):
    with pytest.raises(UnsupportedSpace, match="Unheard"):
        ask(Unheard())


def test_an_unknown_primitive_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match=r"no primitive is named 'likelyhood'; did you mean 'likelihood'\?.*Known: "):
        teach(Angle, likelyhood=lambda field: None)
    with pytest.raises(TypeError, match=r"inherits from molgen\.space\.Field"):
        teach(dict, likelihood=lambda field: None)


def test_teaching_imports_nothing_and_is_known_afterwards():
    source = """
import sys
from molgen.kinds import teach
from molgen.space import Field

class Angle(Field):
    pass

teach(Angle, likelihood=lambda field, components=5: "taught")
assert "torch" not in sys.modules
from molgen.families.parts.likelihood import likelihood
assert likelihood(Angle()) == "taught"
"""
    subprocess.run([sys.executable, "-c", source], check=True, timeout=60)
