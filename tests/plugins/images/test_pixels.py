"""The pixel encoder: exact where it says so, and nothing resized or recoloured unasked."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from molgen.batch import collate, pack, separate, unpack
from molgen.config import make_settings
from molgen.data.encode import write_store
from molgen.data.statistics import measure
from molgen.domain import Invalid
from molgen.errors import UsageError
from molgen.space import Layout, layout
from molgen_plugins.images.examples import digit, examples, ring
from molgen_plugins.images.pixels import Pixels, PixelsConfig
from molgen_plugins.images.raster import encoded

LEVELS = [2, 4, 8, 16, 32, 64, 128, 256]


def encoder(height=4, width=3, **settings):
    return Pixels(PixelsConfig(height, width, **settings))


def images(channels, shape=(4, 3)):
    return st_numpy.arrays(np.uint8, shape if channels == 1 else (*shape, 3))


def test_the_space_is_a_grid_of_quantised_values():
    space = Pixels().space
    field = space["pixels"]
    assert layout(space) is Layout.GRID
    assert [(axis.name, axis.maximum, axis.variable) for axis in field.axes] == [
        ("row", 28, False),
        ("column", 28, False),
    ]
    assert (field.channels, field.levels) == ((1,), 256)
    assert encoder(channels=3, levels=32).space["pixels"].channels == (3,)


@given(st.sampled_from([1, 3]).flatmap(lambda c: st.tuples(st.just(c), images(c))))
@settings(deadline=None)
def test_nothing_is_lost_with_256_levels(case):
    channels, image = case
    own = encoder(channels=channels)
    sample = own.encode(image)
    assert sample["pixels"].shape == (4, 3, channels)
    assert np.array_equal(sample["pixels"].reshape(image.shape), image)
    back = own.decode(sample)
    assert back.dtype == np.uint8
    assert np.array_equal(back, image)


@given(st.sampled_from(LEVELS), images(1))
@settings(deadline=None)
def test_levels_are_equal_cells_and_come_back(levels, image):
    own = encoder(levels=levels)
    sample = own.encode(image)
    assert np.array_equal(sample["pixels"][..., 0], image.astype(int) * levels // 256)
    shown = own.decode(sample)
    assert np.abs(shown.astype(int) - image).max() < 256 // levels
    assert np.array_equal(own.encode(shown)["pixels"], sample["pixels"])


@pytest.mark.parametrize("levels", LEVELS)
def test_black_stays_black_and_white_white(levels):
    image = digit(6)
    own = Pixels(PixelsConfig(levels=levels))
    assert np.array_equal(own.decode(own.encode(image)), image)


@pytest.mark.parametrize(("channels", "levels"), [(1, 256), (3, 256), (1, 2), (3, 32)])
def test_samples_pass_through_batches_packing_and_the_store(tmp_path, channels, levels):
    own = encoder(channels=channels, levels=levels)
    pictures = np.random.default_rng(0).integers(0, 256, (5, 4, 3, channels), dtype=np.uint8)
    samples = [own.encode(picture[..., 0] if channels == 1 else picture) for picture in pictures]
    batch = collate(own.space, samples)
    assert batch.fields["pixels"].shape == (5, 4, 3, channels)
    assert batch.fields["pixels"].abs().max() < 1
    packed = pack(own.space, batch)["pixels"]
    assert packed.values.shape == (5, 12 * channels)
    assert packed.mask.all()
    restored = unpack(own.space, {"pixels": packed.values}, batch.sizes, {"row": 4, "column": 3})
    assert torch.equal(restored.fields["pixels"], batch.fields["pixels"])
    for sample, before in zip(separate(own.space, restored), samples, strict=True):
        assert np.array_equal(sample["pixels"], before["pixels"])
        assert own.encode(own.decode(sample))["pixels"].tolist() == before["pixels"].tolist()
    assert measure(own.space, [batch]).moments["pixels"].count == 60 * channels
    rows = [(picture[..., 0] if channels == 1 else picture, {}) for picture in pictures]
    store = write_store(tmp_path / "store", lambda: own, own.space, [*rows, (digit(0), {})])
    assert (
        store.rejected == {"the image is 28x28; this encoder takes 3x4 (the setting resize scales it)": 1}
        or channels == 3
    )
    assert store.fields["pixels"].dtype == np.uint8
    assert torch.equal(store.batch(np.arange(5)).fields["pixels"], batch.fields["pixels"])


def test_other_sizes_and_colours_are_refused_by_default():
    assert encoder(28, 28).encode(ring(32)) == Invalid(
        "the image is 32x32; this encoder takes 28x28 (the setting resize scales it)"
    )
    assert (
        encoder(4, 3).encode(np.zeros((5, 6), np.uint8)).reason.startswith("the image is 6x5; this encoder takes 3x4")
    )
    assert encoder(4, 3).encode(np.zeros((4, 3, 3), np.uint8)).reason.startswith("the image is colour")
    assert encoder(4, 3, channels=3).encode(np.zeros((4, 3), np.uint8)).reason.startswith("the image is greyscale")


def test_resizing_keeps_the_proportions_and_the_middle():
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 255
    assert encoder(10, 10, resize=True).encode(wide)["pixels"].min() > 200
    unchanged = encoder(28, 28, resize=True).encode(digit(1))
    assert np.array_equal(unchanged["pixels"][..., 0], digit(1))


def test_converting_follows_the_eye():
    green = np.zeros((4, 3, 3), np.uint8)
    green[..., 1] = 255
    assert encoder(convert=True).encode(green)["pixels"].flatten().tolist() == [150] * 12
    coloured = encoder(channels=3, convert=True).encode(np.full((4, 3), 9, np.uint8))
    assert coloured["pixels"].flatten().tolist() == [9] * 36


@pytest.mark.parametrize("item", [*examples(), b"", b"no picture", "text", None, np.zeros((4, 3))])
def test_encoding_never_raises(item):
    for own in (Pixels(), encoder(8, 8, channels=3, levels=2, resize=True, convert=True)):
        found = own.encode(item)
        assert isinstance(found, Invalid) or found["pixels"].shape[:2] in ((28, 28), (8, 8))


def test_files_are_decoded_where_they_are_met():
    assert np.array_equal(Pixels().encode(encoded(digit(3)))["pixels"][..., 0], digit(3))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"height": 0}, "at least 1"),
        ({"width": 1 << 20, "height": 1 << 20}, "at most"),
        ({"channels": 2}, "1 (greyscale) or 3"),
        ({"levels": 3}, "power of two"),
        ({"levels": 1}, "power of two"),
        ({"levels": 512}, "power of two"),
        ({"levels": True}, "levels"),
        ({"size": 28}, "no setting 'size'"),
    ],
)
def test_wrong_settings_are_one_line(settings, says):
    with pytest.raises(UsageError) as caught:
        make_settings(Pixels.Config, settings, "encoder images.pixels")
    assert says in str(caught.value)


def test_importing_it_imports_no_torch():
    code = "import sys, molgen_plugins.images.pixels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
