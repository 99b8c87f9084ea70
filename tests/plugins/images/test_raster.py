"""What a picture is: arrays and files, hostile ones too. Nothing raises, and nothing is changed in silence."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image

from molgen.domain import Invalid
from molgen_plugins.images.examples import digit, examples
from molgen_plugins.images.raster import FORMATS, brightness, canonical, decoded, encoded, key
from molgen_plugins.media.containers import FILE_LIMIT

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9)) | st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))


def saved(image, format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def picture(mode, size=(5, 4), colour=None):
    return Image.new(mode, size, colour)


def reason(item):
    found = canonical(item)
    assert isinstance(found, Invalid)
    assert "\n" not in found.reason
    return found.reason


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth=8, colour=0, body=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@given(st_numpy.arrays(np.uint8, SHAPES))
@settings(deadline=None)
def test_pictures_come_back_from_their_files(image):
    back = canonical(encoded(image))
    assert back.dtype == np.uint8
    assert np.array_equal(back, image)
    assert key(back) == key(image)


def test_canonical_forms():
    image = digit(2)
    assert canonical(image) is image
    assert np.array_equal(canonical(image[..., None]), image)
    assert np.array_equal(canonical(image > 0), image)
    turned = canonical(image.T)
    assert turned.flags.c_contiguous
    assert np.array_equal(turned, image.T)


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("a.png", "not str"),
        (None, "not NoneType"),
        ([[1, 2]], "not list"),
        (np.zeros((4, 4)), "not float64"),
        (np.zeros((4, 4), np.int64), "not int64"),
        (np.zeros((4, 4), object), "not object"),
        (np.zeros(4, np.uint8), r"not \(4,\)"),
        (np.zeros((), np.uint8), r"not \(\)"),
        (np.zeros((4, 4, 2), np.uint8), r"not \(4, 4, 2\)"),
        (np.zeros((3, 4, 4), np.uint8), r"not \(3, 4, 4\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"not \(1, 4, 4, 3\)"),
        (np.zeros((0, 4), np.uint8), "no pixels"),
        (np.zeros((4, 0, 3), np.uint8), "no pixels"),
        (np.broadcast_to(np.uint8(0), (1 << 13, 1 << 13)), "too large"),
    ],
)
def test_what_is_no_picture_says_why(item, says):
    found = canonical(item)
    assert isinstance(found, Invalid)
    assert re.search(says, found.reason)


def test_keys_tell_shapes_and_pixels_apart():
    images = [*examples(), np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), np.zeros((2, 1, 3), np.uint8)]
    assert len({key(image) for image in images}) == len(images)
    assert key(digit(1)[:, ::-1]) == key(digit(1)[:, ::-1].copy())


def test_brightness_follows_the_eye():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert brightness(colours)[0].tolist() == pytest.approx([0.299, 0.587, 0.114, 1.0])
    assert brightness(np.array([[0, 51, 255]], np.uint8))[0].tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("mode", "colour", "shape"), [("L", 77, (4, 5)), ("RGB", (200, 30, 60), (4, 5, 3))])
def test_formats_and_modes(format, mode, colour, shape):
    options = {"lossless": True} if format == "WEBP" else {}
    image = decoded(saved(picture(mode, colour=colour), format, **options))
    grey = mode == "L" and format == "WEBP"  # which knows no greyscale
    assert image.shape == ((4, 5, 3) if grey else shape)
    assert np.abs(image.astype(int) - np.array(colour)).max() <= (3 if format == "JPEG" else 0)


def test_one_bit_and_four_bits_are_shades_of_grey():
    assert decoded(saved(picture("1", colour=1))).tolist() == [[255] * 5] * 4
    assert decoded(png(2, 1, depth=4, body=b"\x00\x0f")).tolist() == [[0, 255]]


def test_a_palette_of_greys_is_grey_and_another_is_colour():
    grey = decoded(saved(Image.fromarray(digit(4)).convert("P")))
    assert np.array_equal(grey, digit(4))
    colour = decoded(saved(Image.fromarray(digit(4)).convert("RGB").quantize(4), "GIF"))
    assert colour.shape in ((28, 28), (28, 28, 3))
    red = decoded(saved(picture("RGB", colour=(255, 0, 0)).convert("P"), "GIF"))
    assert red.tolist() == [[[255, 0, 0]] * 5] * 4


def test_colour_that_happens_to_be_grey_stays_colour():
    assert decoded(saved(picture("RGB", colour=(9, 9, 9)))).shape == (4, 5, 3)


@pytest.mark.parametrize(("mode", "colour"), [("LA", (9, 255)), ("RGBA", (1, 2, 3, 255))])
def test_transparency_that_is_not_used_is_dropped(mode, colour):
    image = decoded(saved(picture(mode, colour=colour)))
    assert image[0, 0].tolist() == (9 if mode == "LA" else [1, 2, 3])


@pytest.mark.parametrize(
    "data",
    [
        saved(picture("LA", colour=(9, 254))),
        saved(picture("RGBA", colour=(1, 2, 3, 0))),
        saved(picture("L", colour=7), transparency=7),
        saved(picture("RGB", colour=(7, 7, 7)), transparency=(7, 7, 7)),
        saved(picture("RGB", colour=(7, 7, 7)).quantize(2), "GIF", transparency=0),
    ],
)
def test_transparent_parts_are_refused(data):
    assert "transparent" in reason(data)


@pytest.mark.parametrize(
    "data",
    [
        saved(picture("I;16", colour=1000)),
        png(2, 1, depth=16, body=b"\x00\x01\x02\x03\x04"),
        png(1, 1, depth=16, colour=2, body=b"\x00" + bytes(6)),
        b"P5 2 1 65535\n\x01\x02\x03\x04",
        b"P5 2 1 300\n\x01\x02\x01\x04",
        b"P6 1 1 1023\n\x01\x02\x03\x01\x01\x01",
        b"P3 1 1 1023\n512 512 512\n",
        b"PF 1 1 -1.0\n" + bytes(12),
        b"Pf 1 1 -1.0\n" + bytes(4),
    ],
)
def test_deep_pixels_are_refused_and_not_cut_down(data):
    assert "more than 8 bits" in reason(data) or "no image of the formats" in reason(data)


def test_inks_and_animations_are_refused():
    assert "CMYK" in reason(saved(picture("CMYK"), "JPEG"))
    frames = [picture("L", colour=shade) for shade in (0, 100, 200)]
    for format in ("GIF", "PNG", "WEBP"):
        assert "animated" in reason(saved(frames[0], format, save_all=True, append_images=frames[1:]))


def test_other_formats_are_named_as_such():
    for data in (saved(picture("L"), "TIFF"), saved(picture("RGB"), "PCX"), b"<svg/>", b"x", bytes(1000)):
        assert reason(data).startswith("the file is no image of the formats PNG, JPEG")
    assert reason(b"") == "the file is empty"
    assert reason(bytes(FILE_LIMIT + 1)) == "the file is larger than 64 MiB"


@pytest.mark.parametrize("side", [4097, 1 << 15, 1 << 30, (1 << 31) - 1])
def test_bombs_are_refused_by_their_header(side):
    for data in (png(side, side), png(side, side, colour=2), b"P5 %d %d 255\n" % (side, side)):
        assert "too large" in reason(data)


def test_a_picture_is_turned_as_it_was_taken():
    image = Image.fromarray(digit(4))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(decoded(saved(image, exif=exif)), np.rot90(digit(4), -1))
    assert np.array_equal(decoded(saved(image, exif=b"Exif\0\0no exif at all")), digit(4))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_cut_off_files_are_no_pictures(format, share):
    data = saved(Image.fromarray(np.tile(digit(8), (3, 3))).convert("RGB"), format)
    assert reason(data[: int(len(data) * share)])


@given(st.sampled_from(FORMATS), st.lists(st.tuples(st.integers(0), st.binary(max_size=3))))
@settings(deadline=None, max_examples=200)
def test_damaged_files_never_raise(format, changes):
    data = bytearray(saved(Image.fromarray(digit(5)), format))
    for place, content in changes:
        place %= len(data)
        data[place : place + len(content)] = content
    image = canonical(bytes(data))
    assert isinstance(image, Invalid) or (image.dtype == np.uint8 and image.size)
