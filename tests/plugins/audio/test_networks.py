"""The network of spoken digits, and the metrics that read it and the sounds."""

import numpy as np
import pytest
import torch

from molgen.errors import MolgenError
from molgen.evaluation.evaluate import Evaluation, chosen
from molgen.evaluation.reference_cache import ItemSet
from molgen_plugins.audio import voices
from molgen_plugins.audio.domain import Audio
from molgen_plugins.audio.examples import examples, tone
from molgen_plugins.audio.networks import (
    BANDS,
    DIGITS,
    FEATURES,
    FRAMES,
    SPEAKERS,
    WEIGHTS,
    digit_classes,
    digit_features,
    levels_of,
    speaker_classes,
)
from molgen_plugins.audio.shaping import resampled
from molgen_plugins.audio.sound import Sound


def test_the_weights_are_small():
    assert WEIGHTS.stat().st_size < 300_000


def test_features_and_classes_have_their_shapes():
    sounds = examples()
    assert digit_features()(sounds).shape == (len(sounds), FEATURES)
    for classes, names in ((digit_classes(), DIGITS), (speaker_classes(), SPEAKERS)):
        found = classes(sounds)
        assert found.shape == (len(sounds), len(names))
        assert found.dtype == np.float32
        assert np.allclose(found.sum(1), 1, atol=1e-5)


def test_how_loud_a_sound_is_and_at_which_rate_changes_little():
    sound = tone(300, 4000)
    plain = levels_of(sound)
    assert plain.shape == (FRAMES, BANDS)
    assert plain.max() == pytest.approx(1)
    quiet = levels_of(Sound.of(sound.values() / 8, sound.rate))
    assert np.abs(quiet - plain).mean() < 0.05
    assert np.abs(levels_of(resampled(sound, 16_000)) - plain).mean() < 0.05
    stereo = Sound(np.repeat(sound.samples[:, None], 2, axis=1), sound.rate)
    assert np.allclose(levels_of(stereo), plain, atol=1e-5)


@pytest.mark.parametrize("suite", ["digits", "spectrum"])
def test_a_set_is_like_itself_and_defects_are_seen(suite, tmp_path):
    sounds = [tone(100 + 20 * k, 1600 + 40 * k) for k in range(24)]
    loud = np.tile(np.array([32767, -32768], np.int16), 800)
    bad = [Sound(loud, 8000), Sound(np.zeros(1600, np.int16), 8000), b"no sound", sounds[0], sounds[0]]
    same = evaluated(suite, sounds, sounds, tmp_path)
    assert same["Fréchet distance/Test"] == pytest.approx(0, abs=1e-3)
    assert (same["Valid"], same["Unique"], same["Clipped"], same["Silent"]) == (1, 1, 0, 0)
    assert same["Novel"] == 0
    worse = evaluated(suite, bad, sounds, tmp_path)
    assert worse["Valid"] == pytest.approx(4 / 5)
    assert worse["Unique"] == pytest.approx(3 / 4)
    assert (worse["Clipped"], worse["Silent"]) == (pytest.approx(1 / 4), pytest.approx(1 / 4))
    assert worse["Fréchet distance/Test"] > 1


def evaluated(suite, sounds, reference, folder):
    domain = Audio()
    test, train = (ItemSet(name, lambda: iter(reference), name, len(reference)) for name in ("Test", "train"))
    evaluation = Evaluation(domain, chosen(domain, [suite]), [test], train, folder, {})
    return {figure.label: figure.estimate.value for figure in evaluation.evaluate(sounds) if not figure.error}


def test_voices_say_how_to_get_their_weights(monkeypatch):
    monkeypatch.setattr(voices.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MolgenError, match=r"pip install --no-deps resemblyzer==0\.1\.4"):
        voices.voice_features()


def test_voices_of_any_length_are_of_length_one(monkeypatch):
    torch.manual_seed(0)
    weights = voices.VoiceNet().state_dict()
    monkeypatch.setattr(voices, "_weights", lambda: weights)
    sounds = [tone(300, 10), tone(300, 4000), tone(200, 40_000), Sound(np.zeros(800, np.int16), 44_100)]
    found = voices.voice_features()(sounds)
    assert found.shape == (4, voices.WIDTH)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    alone = voices.voice_features()(sounds[2:3])
    assert np.allclose(found[2:3], alone, atol=1e-5)


def test_parts_of_a_voice_overlap_and_the_last_is_mostly_there():
    counts = {100: 1, 160: 1, 190: 1, 200: 2, 237: 2, 300: 3, 400: 4}
    for frames, parts in counts.items():
        found = voices.partials(np.arange(frames * 40, dtype=np.float32).reshape(frames, 40))
        assert found.shape == (parts, voices.PART, 40), frames
        assert found[-1, 0, 0] == (parts - 1) * voices.STEP * 40
