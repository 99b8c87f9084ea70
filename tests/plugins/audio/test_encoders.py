"""Clips as samples: rates, channels, lengths, levels, codes and spectra. The conformance kit tests the rest."""

import numpy as np
import pytest

from molgen.domain import Invalid
from molgen.space import axes
from molgen_plugins.audio import spectra
from molgen_plugins.audio.examples import tone
from molgen_plugins.audio.mulaw import Mulaw, MulawConfig, codes_of, values_of
from molgen_plugins.audio.properties import loudness, peak
from molgen_plugins.audio.shaping import ClipConfig, resampled, shaped
from molgen_plugins.audio.sound import Sound, encoded
from molgen_plugins.audio.spectrogram import Spectrogram, SpectrogramConfig
from molgen_plugins.audio.waveform import Waveform, WaveformConfig


def sine(pitch, samples, rate=8000, amplitude=0.5):
    return Sound.of(amplitude * np.sin(2 * np.pi * pitch * np.arange(samples) / rate), rate)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (sine(100, 400, rate=16_000), "16,000 samples a second; this encoder takes 8,000 (the setting resample"),
        (Sound(np.zeros((400, 2), np.int16), 8000), "stereo; this encoder takes mono (the setting mix"),
        (sine(100, 9000), "9,000 samples; this encoder takes at most 8,192 (the setting fit cuts them)"),
        (b"", "the file is empty"),
    ],
)
@pytest.mark.parametrize("cls", [Mulaw, Waveform, Spectrogram])
def test_what_does_not_fit_names_the_setting_that_would_help(cls, item, said):
    found = cls().encode(item)
    assert isinstance(found, Invalid)
    assert said in found.reason


def test_resampling_keeps_a_tone_and_removes_what_the_new_rate_cannot_hold():
    mixed = Sound.of((sine(440, 44_100, 44_100, 0.3).values() + sine(9000, 44_100, 44_100, 0.3).values()), 44_100)
    found = resampled(mixed, 8000)
    assert (found.rate, len(found.samples)) == (8000, 8000)
    middle = slice(400, -400)
    assert np.abs(found.values() - sine(440, 8000, amplitude=0.3).values())[middle].max() < 0.005
    assert len(shaped(mixed, ClipConfig(resample=True)).samples) == 8000


def test_channels_are_mixed_by_their_mean_and_copied():
    left, right = sine(200, 500), sine(300, 500)
    stereo = Sound(np.stack([left.samples, right.samples], axis=1), 8000)
    mono = shaped(stereo, ClipConfig(mix=True))
    assert np.allclose(mono.values(), (left.values() + right.values()) / 2, atol=1 / 32768)
    both = shaped(left, ClipConfig(mix=True), channels=2)
    assert np.array_equal(both.samples, np.stack([left.samples] * 2, axis=1))


def test_lengths_are_cut_at_both_ends_and_filled_up_behind():
    counted = Sound(np.arange(1, 11).astype(np.int16), 8000)
    cut = shaped(counted, ClipConfig(length=4, fit=True))
    assert cut.samples.tolist() == [4, 5, 6, 7]
    assert len(shaped(counted, ClipConfig(length=20, fit=True)).samples) == 10
    filled = shaped(counted, ClipConfig(length=12, variable=False, fit=True))
    assert filled.samples.tolist() == [*range(1, 11), 0, 0]
    assert "cuts or fills" in shaped(counted, ClipConfig(length=12, variable=False)).reason


def test_a_level_is_reached_unless_that_would_clip():
    quiet = sine(200, 4000, amplitude=0.01)
    assert loudness(shaped(quiet, ClipConfig(level=-20.0))) == pytest.approx(-20, abs=0.1)
    clicks = Sound.of(np.where(np.arange(4000) % 1000 == 0, 0.9, 0.001), 8000)
    louder = shaped(clicks, ClipConfig(level=-10.0))
    assert peak(louder) == pytest.approx(0, abs=0.01)
    assert loudness(louder) < -20
    silent = Sound(np.zeros(100, np.int16), 8000)
    assert not shaped(silent, ClipConfig(level=-20.0)).samples.any()


def test_settings_fit_the_items():
    items = [sine(100, 1000, 16_000), sine(100, 1500, 16_000), sine(100, 9000), encoded(sine(1, 50, 16_000)), b"none"]
    assert Mulaw.settings_for(items) == {"rate": 16_000, "length": 2250}
    assert Waveform.settings_for(items) == {"rate": 16_000, "channels": 1, "length": 2250}
    assert Spectrogram.settings_for(items) == {"rate": 16_000, "length": 2304}
    assert Spectrogram.settings_for([]) == {}
    Spectrogram(SpectrogramConfig(**Spectrogram.settings_for(items)))


def test_mulaw_codes_are_those_of_the_formula():
    assert codes_of(np.array([-1.0, 0.0, 1.0]), 256).tolist() == [0, 128, 255]
    # f(0.1) = ln(1 + 25.5) / ln 256 = 0.59099, and (f + 1) / 2 * 255 + 1/2 = 203.35
    assert codes_of(np.array([0.1]), 256).tolist() == [203]
    for classes in (2, 4, 256):
        codes = np.arange(classes)
        assert np.array_equal(codes_of(values_of(codes, classes), classes), codes)
    assert np.all(np.diff(values_of(np.arange(256), 256)) > 0)


@pytest.mark.parametrize("levels", [2, 16, 256, 65_536])
def test_levels_come_back_and_65536_of_them_lose_nothing(levels):
    every = Sound(np.arange(-32768, 32768).astype(np.int16), 8000)
    encoder = Waveform(WaveformConfig(length=65_536, levels=levels))
    sample = encoder.encode(every)
    assert (sample["wave"].min(), sample["wave"].max()) == (0, levels - 1)
    back = encoder.decode(sample)
    assert np.array_equal(encoder.encode(back)["wave"], sample["wave"])
    assert np.abs(back.samples.astype(int) - every.samples).max() <= 65_536 // levels // 2
    assert encoder.lossless == (levels == 65_536)
    assert not encoder.lossless or np.array_equal(back.samples, every.samples)


def test_stereo_has_two_channels():
    encoder = Waveform(WaveformConfig(channels=2, length=100))
    assert encoder.encode(Sound(np.zeros((7, 2), np.int16), 8000))["wave"].shape == (7, 2)
    assert encoder.decode({"wave": np.zeros((7, 2), int)}).channels == 2


@pytest.mark.parametrize(("window", "hop"), [(8, 4), (256, 128), (256, 64), (12, 2)])
def test_a_complex_spectrum_gives_the_sound_back_bit_for_bit(window, hop):
    count = 30 * hop
    noise = Sound(np.random.default_rng(0).integers(-30_000, 30_000, count).astype(np.int16), 8000)
    encoder = Spectrogram(SpectrogramConfig(length=count, window=window, hop=hop))
    sample = encoder.encode(noise)
    assert sample["spectrum"].shape == (30 + window // hop - 1, window // 2, 2)
    assert np.array_equal(encoder.decode(sample).samples, noise.samples)


def test_a_sound_between_hops_comes_back_with_silence_behind_it():
    encoder = Spectrogram()
    for count, whole in ((1000, 1024), (3, 128), (8192, 8192)):
        back = encoder.decode(encoder.encode(sine(300, count)))
        assert len(back.samples) == whole
        assert np.array_equal(back.samples[:count], sine(300, count).samples)
        assert not back.samples[count:].any()


def test_mel_levels_are_those_of_known_sounds():
    encoder = Spectrogram(SpectrogramConfig(bands=32, length=4096))
    weights = spectra.mel_weights(32, 129, 8000)
    assert np.allclose(weights.sum(0), 1)
    levels = encoder.encode(sine(1000, 4096, amplitude=1.0))["level"]
    assert levels.shape == (33, 32)
    loudest = int(levels[16].argmax())
    assert weights[:, loudest].argmax() == pytest.approx(32, abs=1)  # 1000 Hz is 32 steps of 8000 / 256 Hz
    assert levels[16].max() > 0.7
    assert np.array_equal(encoder.encode(Sound(np.zeros(4096, np.int16), 8000))["level"], np.full((33, 32), -1.0))


def test_narrow_mel_bands_have_a_frequency_each():
    weights = spectra.mel_weights(100, 129, 8000)
    assert (weights.max(0) > 0).all()
    assert np.allclose(weights.sum(0), 1)


def test_phases_are_found_for_magnitudes_and_the_error_falls():
    item = tone(220, 4096)
    magnitudes = np.abs(spectra.spectrum_of(item.values(), 256, 64))
    few, many = (spectra.with_phases(magnitudes, 256, 64, rounds) for rounds in (1, 32))
    errors = [spectra.convergence(values, magnitudes, 256, 64) for values in (few, many)]
    assert errors[1] < errors[0] - 10
    assert errors[1] < -20
    assert np.array_equal(many, spectra.with_phases(magnitudes, 256, 64, 32))


def test_what_is_decoded_from_mel_levels_sounds_about_alike():
    encoder = Spectrogram(SpectrogramConfig(bands=64, window=256, hop=64, length=4096))
    sample = encoder.encode(tone(220, 4096))
    again = encoder.encode(encoder.decode(sample))
    heard = sample["level"] > -0.25  # the louder parts, within 50 dB of full scale
    assert np.abs(again["level"] - sample["level"])[heard].mean() < 0.08  # 3 dB of 80


@pytest.mark.parametrize(
    ("cls", "settings", "said"),
    [
        (MulawConfig, {"classes": 100}, "power of two"),
        (MulawConfig, {"rate": 5}, "rate"),
        (MulawConfig, {"length": 0}, "length"),
        (MulawConfig, {"level": 3.0}, "level"),
        (WaveformConfig, {"channels": 3}, "channels"),
        (WaveformConfig, {"levels": 1}, "levels"),
        (SpectrogramConfig, {"window": 100, "hop": 40}, "twice the hop, 80"),
        (SpectrogramConfig, {"length": 1000}, "multiple of the hop"),
        (SpectrogramConfig, {"bands": 200}, "bands"),
        (SpectrogramConfig, {"exponent": 0.0}, "exponent"),
        (SpectrogramConfig, {"floor": 1.0}, "floor"),
    ],
)
def test_settings_that_make_no_sense_are_refused(cls, settings, said):
    with pytest.raises(ValueError, match=said):
        cls(**settings)


@pytest.mark.parametrize(
    "encoder",
    [
        Mulaw(),
        Waveform(WaveformConfig(channels=2)),
        Spectrogram(),
        Spectrogram(SpectrogramConfig(bands=20)),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_every_place_lies_somewhere_in_time_and_frequency(encoder):
    for name, extent in encoder.extents().items():
        axis = axes(encoder.space)[extent.axis]
        assert extent.starts.shape == extent.ends.shape == (axis.maximum,)
        assert (extent.starts < extent.ends).all()
        last = {"time": encoder.config.length / encoder.config.rate, "frequency": encoder.config.rate / 2}[name]
        assert extent.starts.min() <= 0 < last <= extent.ends.max() + 1e-9
        assert (extent.starts[2:] <= extent.ends[1:-1] + 1e-9).all()  # no gap behind the first
