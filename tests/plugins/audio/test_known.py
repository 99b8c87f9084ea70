"""Parts of sounds that samples keep: beginnings, all but a gap, low frequencies."""

import numpy as np
import pytest
import torch

from molgen.batch import collate
from molgen.config import Part
from molgen.data.statistics import measure
from molgen.domain import Invalid, KnownPart
from molgen.errors import UsageError
from molgen.model.generative_model import GenerativeModel
from molgen_plugins.audio import known
from molgen_plugins.audio.examples import tone
from molgen_plugins.audio.mulaw import Mulaw, MulawConfig
from molgen_plugins.audio.sound import encoded

SOUND = tone(440, 512)
MULAW = Part("audio.mulaw", {"length": 512, "variable": False})
SPECTRUM = Part("audio.spectrogram", {"length": 512, "window": 64, "hop": 32, "variable": False})


def a_model(encoder, family, backbone):
    torch.manual_seed(0)
    model = GenerativeModel(encoder, family, backbone)
    samples = [model.encoder.encode(tone(pitch, 512)) for pitch in (200, 300, 440)]
    model.statistics = measure(model.encoder.space, [collate(model.encoder.space, samples)])
    model.use(model.build())
    return model


@pytest.fixture(scope="module")
def wavenet():
    return a_model(MULAW, "autoregressive", Part("wavenet", {"width": 8, "levels": 2}))


@pytest.fixture(scope="module")
def diffusion():
    unet = Part("unet", {"width": 8, "levels": 2, "blocks": 1, "heads": 0})
    return a_model(SPECTRUM, "diffusion", unet)


def test_a_continuation_begins_as_the_sound_does(wavenet):
    kept = known.beginning(wavenet, SOUND, 0.02)
    assert int(kept.given["code"].sum()) == 160
    (first, second) = (one.sample["code"] for one in wavenet.sample(2, known=kept, seed=1))
    own = wavenet.encoder.encode(SOUND)["code"]
    assert np.array_equal(first[:160], own[:160])
    assert np.array_equal(second[:160], own[:160])
    assert not np.array_equal(first, second)


def test_a_gap_is_filled_and_the_rest_stays(diffusion):
    kept = known.without_gap(diffusion, SOUND, 0.02, 0.03)
    mask = kept.given["spectrum"][:, 0]
    time = diffusion.encoder.extents()["time"]
    assert mask.tolist() == [not (b < 0.03 and e > 0.02) for b, e in zip(time.starts, time.ends, strict=True)]
    # Frames are 64 samples long, 32 apart, and the first has its middle where the sound begins.
    assert mask.tolist() == [not (b < 0.03 and b + 0.008 > 0.02) for b in (np.arange(17) * 32 - 32) / 8000]
    assert 0 < mask.sum() < len(mask)
    (drawn,) = diffusion.sample(1, known=kept, steps=3)
    own = diffusion.encoder.encode(SOUND)["spectrum"]
    assert np.allclose(drawn.sample["spectrum"][mask], own[mask], atol=1e-4)
    assert not np.allclose(drawn.sample["spectrum"][~mask], own[~mask], atol=1e-2)


def test_the_low_frequencies_stay_and_the_others_are_added(diffusion):
    kept = known.low_band(diffusion, SOUND, 2000.0)
    mask = kept.given["spectrum"][0]
    # 125 Hz apart: those of 125 to 1875 Hz. The first place holds the highest one too.
    assert mask.tolist() == [False, *[True] * 15, *[False] * 16]
    (drawn,) = diffusion.sample(1, known=kept, steps=3)
    own = diffusion.encoder.encode(SOUND)["spectrum"]
    assert np.allclose(drawn.sample["spectrum"][:, mask], own[:, mask], atol=1e-4)
    assert not np.allclose(drawn.sample["spectrum"][:, ~mask], own[:, ~mask], atol=1e-2)


def test_what_cannot_be_kept_says_why(wavenet, diffusion):
    with pytest.raises(UsageError, match=r"no direction 'frequency' to fill in along; known: time \(seconds\)"):
        known.low_band(wavenet, SOUND, 2000.0)
    with pytest.raises(UsageError, match="nothing of the item would be kept"):
        known.beginning(wavenet, SOUND, 0.0)
    with pytest.raises(UsageError, match="100 samples; this encoder takes 512"):
        known.without_gap(wavenet, tone(1, 100), 0.0, 0.01)
    with pytest.raises(ValueError, match="parts behind a gap"):
        list(wavenet.sample(1, known=known.without_gap(wavenet, SOUND, 0.01, 0.02)))


def test_a_file_may_be_named_as_the_beginning(tmp_path):
    encoder = Mulaw(MulawConfig(length=1000))
    (tmp_path / "a.wav").write_bytes(encoded(SOUND))
    part = encoder.known_part(str(tmp_path / "a.wav"))
    assert isinstance(part, KnownPart)
    assert np.array_equal(part.sample["code"], encoder.encode(SOUND)["code"])
    for wrong, said in (("none.wav", "no file 'none.wav'"), ("", "no file")):
        found = encoder.known_part(str(tmp_path / wrong))
        assert isinstance(found, Invalid)
        assert said in found.reason
    assert isinstance(encoder.known_part(tone(1, 2000)), Invalid)
