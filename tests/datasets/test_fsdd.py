"""The Free Spoken Digit Dataset on files of the same form that say which they are; the real ones where a mirror is."""

import struct
import zipfile

import pytest

from molgen.dataset import Dataset
from molgen.errors import MolgenError, UsageError
from molgen_datasets.sources import fsdd
from molgen_datasets.sources.fsdd import FSDD, TAKES

ARCHIVE = fsdd.ARCHIVES[0]


def recording(take):
    body = b"WAVE" + repr(take).encode()
    return b"RIFF" + struct.pack("<I", len(body)) + body


CONTENT = b"".join(map(recording, TAKES))


def release(path, change=lambda name, content: content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("free-spoken-digit-dataset-1.0.10/README.md", "read me")
        for take in TAKES:
            name = "free-spoken-digit-dataset-1.0.10/recordings/{}_{}_{}.wav".format(*take)
            content = change(name, recording(take))
            if content is not None:
                archive.writestr(name, content)


@pytest.fixture
def small(monkeypatch, pin):
    monkeypatch.setattr(fsdd, "CONTENT", pin(CONTENT))
    monkeypatch.setattr(FSDD, "files", {"recordings.riff": pin(CONTENT)})
    return FSDD()


def test_it_says_what_it_is():
    assert issubclass(FSDD, Dataset)
    assert FSDD.domain == "audio"
    assert FSDD.description
    assert "CC BY-SA 4.0" in FSDD.licence
    assert "doi:" in FSDD.citation
    assert sum(FSDD.splits.values()) == len(TAKES) == 3000


def test_digests_are_stable(cache):
    """Encoded stores are found by them: a change here makes every user encode anew."""
    assert FSDD().digest("train") == "501a9ada17f1bde24e4e2a44a1ed17809598a616d6d2b74e2a02277a322a06ff"
    assert FSDD().digest("test") == "d046d1d5a56f1881def1db0893ad24ee84b06032fff018dbfed170cdb246e06a"
    assert not cache.exists()


def test_the_first_five_takes_are_the_test_set(small, mirror):
    release(mirror / ARCHIVE)
    for split, takes in (("train", range(5, 50)), ("test", range(5))):
        records = list(small.records(split))
        assert len(records) == FSDD.splits[split]
        assert [record.row for record in records] == list(range(len(records)))
        assert [record.item for record in records] == list(small.items(split))
        for record in records:
            take = record.columns["digit"], record.columns["speaker"], int(record.columns["take"])
            assert record.item == recording(take)
            assert take[2] in takes
            assert set(record.columns) == set(small.columns(split))
            assert all(record.columns[name] in known for name, known in small.classes(split).items())


def test_without_the_release_it_says_what_to_put_where(mirror):
    with pytest.raises(UsageError, match=f"MOLGEN_MIRROR a folder that holds {ARCHIVE}"):
        FSDD().items("test")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda name, content: None if name.endswith("3_theo_7.wav") else content, "it has no 3_theo_7.wav"),
        (lambda name, content: content[:-1] if name.endswith("3_theo_7.wav") else content, "3_theo_7.wav is no whole"),
        (lambda name, content: content.replace(b"theo", b"leo!"), "SHA-256"),
    ],
    ids=["missing", "cut off", "other"],
)
def test_another_release_is_refused(small, mirror, cache, change, said):
    release(mirror / ARCHIVE, change)
    with pytest.raises(MolgenError, match=said):
        small.items("train")
    assert not (cache / "data" / FSDD.folder / "recordings.riff").exists()


def test_what_is_no_archive_is_damaged(small, mirror):
    (mirror / ARCHIVE).write_bytes(b"PK no archive")
    with pytest.raises(MolgenError, match="is damaged"):
        small.items("train")
