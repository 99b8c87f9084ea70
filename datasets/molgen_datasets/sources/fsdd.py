"""The Free Spoken Digit Dataset: ten digits, said fifty times by each of six speakers."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Iterator, Mapping
from itertools import product
from pathlib import Path, PurePosixPath
from typing import ClassVar

from molgen.dataset import Progress
from molgen.domain import Record
from molgen.errors import MolgenError, UsageError
from molgen_datasets.cache import MIRROR, Pin, mirrored, store
from molgen_datasets.source import Source

#: All recordings, one behind the other as files that say how long they are, in the order of `TAKES`.
CONTENT = Pin(21_128_848, "785339f71d0b6135255dedb18ad7d4ffd064c47f58940c1489407a0e278b5322")
#: What the project's own release may be called, and its file name of a recording.
ARCHIVES = ("free-spoken-digit-dataset-1.0.10.zip", "v1.0.10.zip")
_NAME = "{}_{}_{}.wav"
DIGITS = tuple("0123456789")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
#: The digit, the speaker and the number of every recording.
TAKES = tuple(product(DIGITS, SPEAKERS, range(50)))
#: The first takes that are no test data.
_FIRST = 5
#: Bytes in front of what a RIFF file says of its length, and behind it.
_RIFF, _BEHIND = 4, 8


class FSDD(Source):
    """The Free Spoken Digit Dataset: items are WAV files of 8 kHz, mono, 16 bits; digit and speaker are columns.

    As its authors split it, takes 0 to 4 of each digit and speaker are the test set and the others are to train on.
    All speakers are in both.
    """

    domain = "audio"
    description = "3,000 spoken digits at 8 kHz, ten digits by six speakers, 22 minutes"
    licence = "CC BY-SA 4.0, as its README states"
    citation = (
        "Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite. Jakobovski/free-spoken-digit-dataset. Zenodo, "
        "2018. doi:10.5281/zenodo.1342401 (version 1.0.8; here 1.0.10)"
    )
    splits: ClassVar[Mapping[str, int]] = {"train": 2_700, "test": 300}
    folder = "fsdd-1.0.10"
    files: ClassVar[Mapping[str, Pin]] = {"recordings.riff": CONTENT}

    def obtain(self, names: Collection[str], folder: Path, progress: Progress | None) -> None:
        """From the mirror folder: no package index has these files."""
        path = mirrored(*ARCHIVES)
        if path is None:
            raise UsageError(
                f"the Free Spoken Digit Dataset cannot be downloaded: name in {MIRROR} a folder that holds "
                f"{ARCHIVES[0]}, the source code of release 1.0.10 of the GitHub repository "
                "Jakobovski/free-spoken-digit-dataset"
            )
        for name in names:
            store(io.BytesIO(_content(path)), folder / name, self.files[name], str(path))

    def read(self, split: str, folder: Path) -> Iterator[bytes]:
        """The WAV files."""
        return (content for _, content in self._numbered(split, folder))

    def columns(self, split: str) -> Mapping[str, str]:
        """The digit, the speaker and the take."""
        self.require_split(split)
        return {
            "digit": "the digit that is said, 0 to 9",
            "speaker": "the name of the speaker",
            "take": "number of the recording of this digit by this speaker, from 0",
        }

    def classes(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """Digits and speakers are classes."""
        self.require_split(split)
        return {"digit": DIGITS, "speaker": SPEAKERS}

    def records(self, split: str) -> Iterator[Record]:
        """The recordings with what is said in them, and by whom."""
        numbered = self._numbered(split, self.fetch(split=split))
        for row, ((digit, speaker, take), content) in enumerate(numbered):
            columns = {"digit": digit, "speaker": speaker, "take": str(take)}
            yield Record(row, content, columns, _NAME.format(digit, speaker, take))

    def _numbered(self, split: str, folder: Path) -> Iterator[tuple[tuple[str, str, int], bytes]]:
        with (folder / "recordings.riff").open("rb") as stream:
            for take in TAKES:
                head = stream.read(_BEHIND)
                content = head + stream.read(int.from_bytes(head[_RIFF:], "little"))
                if (take[2] >= _FIRST) == (split == "train"):
                    yield take, content


def _content(path: Path) -> bytes:
    """All recordings of a release one behind the other; nothing is extracted to a path that the archive names."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {PurePosixPath(member.filename).name: member for member in archive.infolist()}
            found = [_recording(archive, members[_NAME.format(*take)]) for take in TAKES]
    except KeyError as error:
        raise MolgenError(f"{path} is not the file that is needed: it has no {error.args[0]}") from error
    except Exception as error:  # damaged archives make zipfile raise many kinds
        raise MolgenError(f"{path} is damaged ({error})") from error
    return b"".join(found)


def _recording(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as stream:
        content = stream.read(CONTENT.size + 1)
    if int.from_bytes(content[_RIFF:_BEHIND], "little") + _BEHIND != len(content):
        raise ValueError(f"{member.filename} is no whole WAV file")
    return content
