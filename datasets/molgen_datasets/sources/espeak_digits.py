"""Ten digits as eSpeak NG speaks them, in several accents, voices, paces and pitches: made here, by a recipe."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from molgen.atomic_files import replaced_file
from molgen.data.cache import cache_folder
from molgen.dataset import Dataset, Progress
from molgen.domain import Item, Record
from molgen.errors import MolgenError, UsageError
from molgen_datasets.source import split_of

#: A change of these, or of what is made of them, is another data set and another number.
RECIPE = "espeak digits 1"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp")
VOICES = (*(f"m{n}" for n in range(1, 8)), *(f"f{n}" for n in range(1, 6)))
#: Words a minute, and the pitch from 0 to 99.
PACES, PITCHES = (140, 175), (40, 60)
_COMMAND = "espeak-ng"
#: The length of a RIFF file behind these bytes, in the four bytes before.
_RIFF, _BEHIND = 4, 8


@dataclass(frozen=True)
class Setting:
    """How a digit is said; the digits of one setting are in one split."""

    accent: str
    voice: str
    pace: int
    pitch: int


def settings() -> Iterator[Setting]:
    """All of them, in a fixed order."""
    for accent, voice, pace, pitch in product(ACCENTS, VOICES, PACES, PITCHES):
        yield Setting(accent, voice, pace, pitch)


def of_split(split: str) -> list[Setting]:
    """Those of a split, which a keyed hash of the setting chooses."""
    return [one for one in settings() if split_of(" ".join(map(str, astuple(one)))) == split]


class EspeakDigits(Dataset):
    """Synthetic spoken digits: items are WAV files of 22.05 kHz, mono, as eSpeak NG writes them.

    They are made when they are first asked for, by the program `espeak-ng` of this machine, whose version is part of
    the digest. Formant synthesis sounds like no human: what a model reaches here says nothing of recordings.
    """

    domain = "audio"
    description = "2,880 digits spoken by eSpeak NG at 22.05 kHz: 6 accents, 12 voices, 2 paces, 2 pitches; synthetic"
    licence = "made by a program (eSpeak NG is GPL-3 or later); no recording is in it"
    citation = "eSpeak NG, github.com/espeak-ng/espeak-ng"
    splits: ClassVar[Mapping[str, int]] = {name: 10 * len(of_split(name)) for name in ("train", "valid", "test")}

    def fetch(self, progress: Progress | None = None, split: str | None = None) -> Path:
        """Make the files of a split, or of all, where they are not there.

        Raises:
            UsageError: the program is not installed.
            MolgenError: it fails.
        """
        if split is not None:
            self.require_split(split)
        for name in self.splits if split is None else (split,):
            if not self._path(name).is_file():
                _make(name, self._path(name), progress)
        return self._path("train").parent

    def fetched(self, split: str | None = None) -> bool:
        """Whether the files were made, by the version of the program that is installed."""
        return all(self._path(name).is_file() for name in (self.splits if split is None else (split,)))

    def _path(self, split: str) -> Path:
        return cache_folder() / "data" / "espeak-digits" / f"{split}-{self.digest(split)[:16]}.riff"

    def digest(self, split: str) -> str:
        """The hash of the recipe, the version of the program, if it is installed, and the split."""
        self.require_split(split)
        return hashlib.sha256(f"{RECIPE} {version()} {split}".encode()).hexdigest()

    def items(self, split: str) -> Iterator[Item]:
        """The WAV files."""
        return (record.item for record in self.records(split))

    def columns(self, split: str) -> Mapping[str, str]:
        """The digit, and how it is said."""
        self.require_split(split)
        return {
            "digit": "the digit that is said, 0 to 9",
            "accent": "of English, as eSpeak NG names it",
            "voice": "the variant of the voice, male (m) or female (f)",
            "pace": "words a minute",
            "pitch": "from 0 to 99",
        }

    def classes(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """Digits, accents and voices are classes."""
        self.require_split(split)
        return {"digit": tuple("0123456789"), "accent": ACCENTS, "voice": VOICES}

    def records(self, split: str) -> Iterator[Record]:
        """The files with what is said in them, and how."""
        self.fetch(split=split)
        return self._read(split)

    def _read(self, split: str) -> Iterator[Record]:
        with self._path(split).open("rb") as stream:
            for row, (setting, digit) in enumerate(product(of_split(split), range(len(WORDS)))):
                head = stream.read(_BEHIND)
                content = head + stream.read(int.from_bytes(head[_RIFF:], "little"))
                said = {name: str(value) for name, value in vars(setting).items()}
                yield Record(row, content, {"digit": str(digit), **said}, f"{WORDS[digit]} {' '.join(said.values())}")


def version() -> str:
    """What the program says of itself, without where its data are; empty where it is not installed."""
    program = shutil.which(_COMMAND)
    if program is None:
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout.partition("Data at:")[0].strip()


def _make(split: str, path: Path, progress: Progress | None) -> None:
    """Write all files of a split behind each other; the file appears once all are in it."""
    program = shutil.which(_COMMAND)
    if program is None:
        raise UsageError(f"the digits are spoken by {_COMMAND}, which is not installed; type: apt install {_COMMAND}")
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = list(product(of_split(split), WORDS))
    with TemporaryDirectory() as folder, replaced_file(path) as temporary, temporary.open("xb") as target:
        for number, (setting, word) in enumerate(wanted):
            target.write(_spoken(program, setting, word, Path(folder) / "word.wav"))
            if progress is not None:
                progress(number + 1, len(wanted))


def _spoken(program: str, setting: Setting, word: str, path: Path) -> bytes:
    """One word as a WAV file."""
    voice = f"{setting.accent}+{setting.voice}"
    command = [program, "-v", voice, "-s", str(setting.pace), "-p", str(setting.pitch), "-w", str(path), word]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    content = path.read_bytes() if not done.returncode and path.is_file() else b""
    if int.from_bytes(content[_RIFF:_BEHIND], "little") + _BEHIND != len(content):
        said = " ".join(done.stderr.split())[:200] or "no whole file"
        raise MolgenError(f"{_COMMAND} cannot speak {word!r} in the voice {voice} ({said})")
    path.unlink()
    return content
