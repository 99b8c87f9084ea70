"""What a sound is, in memory and in the bytes of files."""

import io

import numpy as np
import pytest
import soundfile

from molgen.domain import Invalid
from molgen_plugins.audio import sound as sound_module
from molgen_plugins.audio.examples import examples, tone
from molgen_plugins.audio.properties import FLOOR, PROPERTIES, spectrum
from molgen_plugins.audio.sound import Sound, canonical, decoded, encoded, key


def reason(item):
    found = canonical(item)
    assert isinstance(found, Invalid)
    return found.reason


def file_of(values, rate=8000, **options):
    stream = io.BytesIO()
    soundfile.write(stream, values, rate, **{"format": "WAV", **options})
    return stream.getvalue()


@pytest.mark.parametrize("format", ["WAV", "FLAC"])
def test_files_without_loss_come_back_bit_for_bit(format):
    for item in examples():
        back = decoded(encoded(item, format))
        assert key(back) == key(item)
        assert np.array_equal(back.samples, item.samples)


def test_vorbis_comes_back_about_as_it_was():
    item = tone(220, 8000)
    back = decoded(encoded(item, "OGG"))
    assert (back.rate, back.samples.shape) == (item.rate, item.samples.shape)
    assert np.abs(back.values() - item.values()).mean() < 0.01


def test_deep_samples_are_rounded_and_loud_numbers_clipped():
    steps = np.array([0.0, 0.4, 0.6, -0.6, 20_000.4]) / 32768
    for subtype in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE"):
        assert decoded(file_of(steps, subtype=subtype)).samples.tolist() == [0, 0, 1, -1, 20_000]
    loud = decoded(file_of(np.array([1.5, -1.5, 0.5]), subtype="FLOAT"))
    assert loud.samples.tolist() == [32767, -32768, 16384]
    assert PROPERTIES["clipped"](loud) == pytest.approx(2 / 3)
    assert decoded(file_of(np.array([0.5, -0.5]), subtype="PCM_U8")).samples.tolist() == [16384, -16384]


def test_every_16_bit_value_survives_its_floating_point_form():
    every = np.arange(-32768, 32768).astype(np.int16)
    assert np.array_equal(Sound.of(Sound(every, 8000).values(), 8000).samples, every)


def test_what_is_no_sound_says_why(monkeypatch):
    assert reason(b"") == "the file is empty"
    assert reason(b"RIFF no sound") == "the file is no whole sound of the formats WAV, FLAC or Ogg"
    assert "AIFF; WAV, FLAC and Ogg are read" in reason(file_of(np.zeros(9), format="AIFF"))
    assert "3 channels" in reason(file_of(np.zeros((9, 3))))
    assert reason(file_of(np.zeros(0))) == "the sound has no samples"
    assert "no numbers" in reason(file_of(np.array([np.nan, 0.0]), subtype="FLOAT"))
    assert "not list" in reason([1, 2])
    assert "16 bits" in reason(Sound(np.zeros(3), 8000))
    assert "shape" in reason(Sound(np.zeros((3, 3), np.int16), 8000))
    assert "sampling rate" in reason(Sound(np.zeros(3, np.int16), 8000.5))
    assert "sampling rate" in reason(Sound(np.zeros(3, np.int16), 0))
    monkeypatch.setattr(sound_module, "SAMPLE_LIMIT", 8)
    assert "too long (9 samples" in reason(file_of(np.zeros(9)))


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG"])
def test_a_damaged_file_is_a_sound_or_says_why_it_is_none(format):
    whole, random = encoded(tone(200, 900), format), np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(256)
        found = canonical(bytes(data))
        assert found.reason if isinstance(found, Invalid) else len(found.samples)


def test_one_channel_is_mono_and_equal_sounds_have_one_key():
    mono = tone(100, 300)
    assert key(canonical(Sound(mono.samples[:, None], np.int64(8000)))) == key(mono)
    assert key(Sound(mono.samples, 16_000)) != key(mono)
    stereo = np.repeat(mono.samples[:, None], 2, axis=1)
    assert key(canonical(Sound(stereo, 8000))) != key(mono)
    assert np.allclose(Sound(stereo, 8000).mono(), mono.values())


def test_properties_of_sounds_that_are_known():
    square = Sound(np.tile(np.array([32767, -32767], np.int16), 4000), 8000)
    sine = Sound.of(np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000) * 0.999, 8000)
    silent = Sound(np.zeros(8000, np.int16), 8000)
    assert PROPERTIES["duration"](sine) == 1.0
    assert PROPERTIES["loudness"](square) == pytest.approx(0, abs=1e-3)
    assert PROPERTIES["loudness"](sine) == pytest.approx(-3.02, abs=0.01)
    assert PROPERTIES["loudness"](silent) == PROPERTIES["peak"](silent) == FLOOR
    assert PROPERTIES["clipped"](square) == 1.0
    assert PROPERTIES["clipped"](sine) == 0.0
    assert [PROPERTIES["silence"](each) for each in (square, silent)] == [0.0, 1.0]
    assert PROPERTIES["centroid"](sine) == pytest.approx(1000, rel=0.05)
    assert np.isnan(PROPERTIES["centroid"](silent))
    half = Sound(np.concatenate([sine.samples, silent.samples]), 8000)
    assert PROPERTIES["silence"](half) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("count", [1, 2, 100, 5000])
def test_the_spectrum_is_finite_for_sounds_of_any_length(count):
    for rate in (100, 8000, 44_100):
        found = spectrum(Sound(np.full(count, 9, np.int16), rate))
        assert found.shape == (64,)
        assert np.isfinite(found).all()
