"""Strings that made parsers hang, crash or wrap around, for every encoder of molecules."""

import pytest
from support.limits import limits

from molgen import registry
from molgen.config import make_settings
from molgen.domain import Invalid

HOSTILE = {
    "nothing": "",
    "charge that wraps": "[C+999999999]",
    "open atoms": "*" * 5000,
    "long chain": "C" * 10_000,
    "longer chain": "C" * 100_000,
    "nested branches": "C(" * 100_000 + ")" * 100_000,
    "ring number": "C%(99999)CC%(99999)",
    "many rings": "C1" * 7000,
    "long SMILES": "C1CC2" * 2800,
    "not SELFIES": "1243124124",
    "not SMILES": "[C][=C][Ring1]" * 1000,
    "zero": "C\0C",
    "half a character": "\ud800",
    "tautomers": "Oc1nc(O)c2nc(O)nc(O)c2n1." * 20 + "C",
    "ring systems": "C12C3C4C1C5C2C3C45" * 50,
}
ENCODERS = [name for name in registry.names("encoder") if name.startswith("molecules.")]


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request):
    cls = registry.get("encoder", request.param)
    made = cls(make_settings(cls.Config, {}, request.param))
    made.decode(made.encode("CCO"))
    return made


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_string_is_encoded_or_refused_in_bounds(encoder, text):
    with limits("string", memory=500 << 20):
        sample = encoder.encode(text)
        if isinstance(sample, Invalid):
            assert sample.reason
        else:
            assert encoder.decode(sample) is not None
