"""The domain and its inspector: plain data in and out, hostile files for workers, nothing heavy imported early."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from molgen import registry
from molgen.domain import Invalid
from molgen.inference.pictures import as_html
from molgen.workers.inspector import Inspector
from molgen_plugins.audio.domain import Audio
from molgen_plugins.audio.examples import tone
from molgen_plugins.audio.inspection import inspector
from molgen_plugins.audio.properties import FEATURES, PROPERTIES
from molgen_plugins.audio.sound import Sound, encoded, key


def test_the_entry_points_lead_to_it():
    assert registry.get("domain", "audio") is Audio
    encoders = {name for name in registry.names("encoder") if name.startswith("audio.")}
    assert encoders == {"audio.mulaw", "audio.waveform", "audio.spectrogram"}


def test_importing_it_imports_nothing_heavy():
    code = "import sys, molgen_plugins.audio.domain; sys.exit(bool({'soundfile', 'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_examples_are_different_sounds():
    domain = Audio()
    forms = [domain.canonical(item) for item in domain.examples()]
    assert not any(isinstance(form, Invalid) for form in forms)
    assert len({domain.key(form) for form in forms}) == len(forms)


def test_descriptors_hold_for_arrays_and_files():
    descriptors = Audio().descriptors()
    assert (list(descriptors.properties), list(descriptors.features)) == (list(PROPERTIES), list(FEATURES))
    item = tone(220, 4000)
    assert descriptors.properties["duration"](item) == descriptors.properties["duration"](encoded(item)) == 0.5
    assert math.isnan(descriptors.properties["loudness"](b"no sound"))
    assert descriptors.features["spectrum"](None) is None


def test_an_inspection_is_plain_data_and_holds_only_what_was_asked():
    found = pickle.loads(pickle.dumps(inspector(["duration"], filters=True, features=["spectrum"])(tone(1, 800))))
    assert (found.error, found.passes, found.properties) == (None, True, {"duration": 0.1})
    assert np.array_equal(found.audio.samples, tone(1, 800).samples)
    assert found.features["spectrum"].shape == (64,)
    assert (inspector()(tone(1, 8)).properties, inspector()(b"").error) == ({}, "the file is empty")
    with pytest.raises(ValueError, match="no 'pitch': there are duration"):
        inspector(["pitch"])


def test_sounds_are_judged_in_workers():
    domain = Audio()
    items = [*domain.examples(), encoded(tone(9, 400)), b"", encoded(tone(9, 400))[:40], np.zeros(3), Invalid("no row")]
    with Inspector(domain, ["loudness"], processes=1, features=["spectrum"]) as judge:
        inspections = judge.submit(items).result()
    assert [inspection.error for inspection in inspections[:-4]] == [None] * (len(items) - 4)
    assert all(inspection.item is None and inspection.error for inspection in inspections[-4:])
    assert key(inspections[len(domain.examples())].item) == key(tone(9, 400))
    assert isinstance(inspections[0].item, Sound)


def test_sounds_can_be_heard_in_notebooks():
    domain, item = Audio(), tone(220, 800)
    assert key(domain.canonical(domain.audible(item))) == key(item)
    shown = as_html(domain, [item, encoded(item), b"no sound"])
    assert shown.count('<audio controls src="data:audio/wav;base64,') == 2
    assert "no sound" not in shown
    assert repr(item) == "Sound(800 samples at 8000 Hz)"
