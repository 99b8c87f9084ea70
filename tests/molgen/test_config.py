"""Settings: plain values, checked against the dataclass of the part that they are for."""

import json
import sys
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from support.toys import Tokens, register

from molgen.backbones.recurrent.causal import Recurrent, RecurrentConfig
from molgen.config import ModelConfig, Part, make_settings, settings_of, to_settings
from molgen.errors import PluginError, UsageError


@dataclass(frozen=True)
class Settings:
    width: int = 8
    rate: float = 0.5
    name: str = "x"
    flag: bool = False
    limit: int | None = None
    sizes: tuple[int, ...] = (1, 2)
    mode: Literal["soft", "hard"] = "soft"
    table: dict[str, int] | None = None
    anything: Any = None

    def __post_init__(self):
        if self.width < 1:
            raise ValueError("width must be at least 1")


def make(**values):
    return make_settings(Settings, values, "toy")


def test_values_become_settings():
    made = make(width=3, rate=1, limit=4, sizes=[5], mode="hard", table={"a": 1}, anything=[None])
    assert made == Settings(3, 1.0, "x", False, 4, (5,), "hard", {"a": 1}, [None])
    assert isinstance(made.rate, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wdith": 3}, "toy: no setting 'wdith'; did you mean 'width'?"),
        ({"_target_": "os.system"}, "toy: no setting '_target_'"),
        ({"width": "3"}, "toy: width must be int, not '3'"),
        ({"width": 3.0}, "width must be int"),
        ({"width": True}, "width must be int"),
        ({"rate": "fast"}, "rate must be float"),
        ({"flag": 1}, "flag must be bool"),
        ({"limit": "none"}, "limit must be int | None"),
        ({"sizes": [1, "2"]}, "sizes must be"),
        ({"mode": "harder"}, "mode must be one of 'soft', 'hard'"),
        ({"table": [1]}, "table must be"),
        ({"width": 0}, "toy: width must be at least 1"),
    ],
)
def test_a_wrong_value_is_one_line_that_says_where(values, message):
    with pytest.raises(UsageError) as caught:
        make(**values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_value_is_a_usage_error():
    @dataclass(frozen=True)
    class Needs:
        path: str

    with pytest.raises(UsageError, match="path"):
        make_settings(Needs, {}, "toy")


def test_settings_become_plain_values_and_come_back():
    plain = json.loads(json.dumps(to_settings(Settings(sizes=(3,)))))
    assert make_settings(Settings, plain, "toy") == Settings(sizes=(3,))


CONFIG = ModelConfig(Part("molecules.smiles"), Part("autoregressive"), Part("recurrent", {"width": 8}), ("logp",))


def test_a_configuration_survives_json():
    assert ModelConfig.from_json(json.loads(json.dumps(CONFIG.to_json()))) == CONFIG
    assert CONFIG.domain == "molecules"


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "recurrent",
        {},
        {"name": 3},
        {"name": "recurrent", "settings": [1]},
        {"name": "x", "_target_": "os.system"},
    ],
)
def test_a_part_of_another_form_is_refused_by_its_place(broken):
    with pytest.raises(UsageError, match=r"^backbone: "):
        ModelConfig.from_json(CONFIG.to_json() | {"backbone": broken})


def test_a_part_is_found_by_its_registry_name():
    assert settings_of("backbone", Part("recurrent", {"width": 8})) == (Recurrent, RecurrentConfig(width=8))


@pytest.mark.parametrize(
    "settings", [{"cell": "rnn"}, {"width": 0}, {"layers": 0}, {"embedding": -1}, {"dropout": 1.0}]
)
def test_a_network_that_cannot_be_is_refused_by_its_setting(settings):
    with pytest.raises(UsageError, match=f"backbone recurrent: .*{next(iter(settings))}"):
        settings_of("backbone", Part("recurrent", settings))


@pytest.mark.parametrize("name", ["os:system", "os.system", "os", "antigravity:geohash", "../../os", ""])
def test_only_registered_names_are_imported(name):
    before = set(sys.modules)
    for kind in ("encoder", "family", "backbone"):
        with pytest.raises(PluginError):
            settings_of(kind, Part(name))
    assert set(sys.modules) == before


def test_a_domain_that_is_its_own_encoder_is_registered_once(fake_distribution):
    register(fake_distribution)
    assert settings_of("encoder", Part("tokens"))[0] is Tokens


def test_a_domain_that_is_no_encoder_names_its_encoders():
    with pytest.raises(UsageError, match=r"'molecules' is no encoder; its encoders: molecules\.geom"):
        settings_of("encoder", Part("molecules"))
