"""The Mandarin syllables of the Debian package gcin-voice, each said by one or two people."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from molgen.dataset import Progress
from molgen.domain import Record
from molgen_datasets.cache import Pin
from molgen_datasets.deb import Package, members, obtain
from molgen_datasets.source import Source, split_of

PACKAGE = Package(
    project="gcin-voice",
    version="0~20170223-3",
    filename="gcin-voice_0~20170223-3_all.deb",
    pin=Pin(7_740_240, "6a0353f0294d06f7bd901bada3d5d9eec63b66c2ec029f92da3124d93d45de70"),
)
#: The folder of the recordings within the package, and the names of speakers by the names of their files.
_FOLDER = "usr/share/gcin-voice/ogg"
SPEAKERS: Mapping[str, str] = {"3.ogg": "liu", "5.ogg": "chu"}
TONES = ("0", "1", "2", "3", "4")


class GcinVoice(Source):
    """Spoken Mandarin syllables: items are Ogg Vorbis files of 44.1 kHz, mono; syllable, tone and speaker are columns.

    All recordings of a syllable, in whatever tone and by whom, are in one split, which a keyed hash of the syllable
    chooses (`source.split_of`).
    """

    domain = "audio"
    description = "2,358 spoken Mandarin syllables at 44.1 kHz, with tones, by two speakers, 14 minutes"
    licence = "speaker liu: GPL-3 or LGPL-3; speaker chu: CC BY 3.0, as the package states"
    citation = (
        "gcin-voice 0~20170223-3, a package of Debian; E. Liu, 2014, and ChionMeilin with the vocal source from Chu Lo"
    )
    splits: ClassVar[Mapping[str, int]] = {"train": 1_958, "valid": 168, "test": 232}
    folder = "gcin-voice-0.20170223-3"
    files: ClassVar[Mapping[str, Pin]] = {"gcin-voice.deb": PACKAGE.pin}

    def obtain(self, names: Collection[str], folder: Path, progress: Progress | None) -> None:
        """From the mirror folder, or by apt-get."""
        for name in names:
            obtain(PACKAGE, folder / name, progress)

    def read(self, split: str, folder: Path) -> Iterator[bytes]:
        """The Ogg files."""
        return (content for _, content in self._recordings(split, folder))

    def columns(self, split: str) -> Mapping[str, str]:
        """The syllable, the tone and the speaker."""
        self.require_split(split)
        return {
            "syllable": "in bopomofo, without its tone",
            "tone": "the digit behind the syllable in the name of the file, 0 where there is none: the first tone",
            "speaker": "liu or chu",
        }

    def classes(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """Tones and speakers are classes; most syllables of one split are in no other."""
        self.require_split(split)
        return {"tone": TONES, "speaker": tuple(SPEAKERS.values())}

    def records(self, split: str) -> Iterator[Record]:
        """The recordings with what is said in them, and by whom."""
        for row, (columns, content) in enumerate(self._recordings(split, self.fetch(split=split))):
            yield Record(row, content, columns, " ".join(columns.values()))

    def _recordings(self, split: str, folder: Path) -> Iterator[tuple[dict[str, str], bytes]]:
        for name, content in members(folder / "gcin-voice.deb"):
            path = PurePosixPath(name)
            if path.parent.parent.as_posix() != _FOLDER or path.name not in SPEAKERS:
                continue
            said = path.parent.name
            syllable, tone = (said[:-1], said[-1]) if said[-1] in TONES else (said, "0")
            if split_of(syllable) == split:
                yield {"syllable": syllable, "tone": tone, "speaker": SPEAKERS[path.name]}, content
