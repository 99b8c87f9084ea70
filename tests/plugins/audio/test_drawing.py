"""Contact sheets of sounds."""

from xml.etree import ElementTree

import numpy as np
import pytest

from molgen.domain import Invalid
from molgen_plugins.audio.domain import Audio
from molgen_plugins.audio.examples import examples, tone
from molgen_plugins.audio.sound import Sound

SVG = "{http://www.w3.org/2000/svg}"


def test_every_example_has_a_waveform_a_spectrogram_and_a_legend():
    items = examples()
    document = ElementTree.fromstring(Audio().draw(items, [f"n {k}" for k in range(len(items))]))
    assert len(list(document.iter(f"{SVG}path"))) == len(list(document.iter(f"{SVG}image"))) == len(items)
    assert "n 3" in {text.text for text in document.iter(f"{SVG}text")}
    assert all(image.get("href").startswith("data:image/png;base64,") for image in document.iter(f"{SVG}image"))


def test_length_is_seen_up_to_a_second():
    document = ElementTree.fromstring(Audio().draw([tone(200, 4000), tone(200, 8000), tone(200, 80_000)]))
    assert [image.get("width") for image in document.iter(f"{SVG}image")] == ["80", "160", "160"]


@pytest.mark.parametrize("count", [1, 2, 70])
def test_very_short_and_very_slow_sounds_are_drawn(count):
    for rate in (100, 8000, 192_000):
        drawing = Audio().draw([Sound(np.full(count, -32768, np.int16), rate)])
        assert "NaN" not in drawing
        assert ElementTree.fromstring(drawing).find(f".//{SVG}image") is not None


def test_what_is_no_sound_says_why():
    drawing = Audio().draw([b"", Invalid("not <said>")])
    assert "the file is empty" in drawing
    assert "not &lt;said&gt;" in drawing
    with pytest.raises(ValueError, match="1 legends for 2 sounds"):
        Audio().draw([tone(1, 9), tone(1, 9)], ["one"])
