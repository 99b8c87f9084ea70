"""Every encoder keeps its guarantees: those that are installed, and the toys."""

import pytest
from support.toys import TOYS

from molgen import registry
from molgen.testing import encoder_checks, parametrize_with_checks


@parametrize_with_checks(*(encoder_checks(part) for part in [*registry.names("encoder"), *TOYS]))
def test_encoder(check):
    check()


@pytest.mark.parametrize(
    "settings",
    [
        ("molecules.smiles", {"kekule": True}),
        ("molecules.smiles", {"merges": 20}),
        ("molecules.selfies", {"constraints": "octet_rule"}),
        ("molecules.selfies", {"merges": 20}),
        ("images.pixels", {"channels": 3, "height": 20, "width": 20}),
        ("audio.mulaw", {"length": 2048, "variable": False, "fit": True}),
        ("audio.waveform", {"channels": 2, "levels": 65_536, "rate": 16_000}),
        ("audio.spectrogram", {"window": 64, "hop": 16}),
    ],
    ids=str,
)
def test_encoder_with_other_settings(settings):
    name, values = settings
    cls = registry.get("encoder", name)
    for check in encoder_checks(cls(cls.Config(**values))):
        check()
