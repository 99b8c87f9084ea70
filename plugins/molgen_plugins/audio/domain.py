"""The domain of sounds. An item is a clip of samples, or the bytes of a file until somebody listens to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from molgen.domain import Descriptors, Domain, Invalid, Item, Record
from molgen_plugins.media.describing import Suite, compared, described

if TYPE_CHECKING:
    import numpy as np

    from molgen_plugins.audio.sound import Sound


#: What there is to say of sounds whatever they are of.
_ANY: Suite = {
    "Valid": ("validity", {}),
    "Unique": ("uniqueness", {}),
    "Novel": ("novelty", {}),
    "Clipped": ("audio.clipped", {}),
    "Silent": ("audio.silent", {}),
}
#: Suites of metrics by what they compare: features of a network (see `networks` and `voices`), or levels in bands.
SUITES: Mapping[str, Suite] = {
    "digits": {
        **_ANY,
        **compared("digits"),
        "Class score": ("class_score", {"feature": "digit_classes"}),
        "Class distance/{}": ("class_distance", {"feature": "digit_classes"}),
    },
    "spectrum": {**_ANY, **compared("spectrum")},
    "voices": {**_ANY, **compared("voices")},
}


class Audio(Domain):
    """Sounds as 16-bit samples at a rate, mono or stereo; equal sounds have equal rates and samples.

    What a file holds stays encoded when it is read, so that hostile files are decoded in workers only.
    """

    column: ClassVar[str] = "audio"
    metrics: ClassVar[tuple[str, ...]] = ("validity", "uniqueness", "novelty", "audio.clipped", "audio.silent")
    networks: ClassVar[Mapping[str, str]] = {
        "digits": "molgen_plugins.audio.networks:digit_features",
        "digit_classes": "molgen_plugins.audio.networks:digit_classes",
        "speaker_classes": "molgen_plugins.audio.networks:speaker_classes",
        "voices": "molgen_plugins.audio.voices:voice_features",
    }
    default_encoder: ClassVar[str | None] = "audio.mulaw"
    usual_output: ClassVar[str] = "generated"
    usual_properties: ClassVar[tuple[str, ...]] = ("duration", "loudness", "clipped", "silence")
    inspector: ClassVar[str | None] = "molgen_plugins.audio.inspection:inspector"
    file_ending: ClassVar[str] = "wav"
    distance_feature: ClassVar[str | None] = "spectrum"
    predictor: ClassVar[str] = "linear"

    def examples(self) -> list[Item]:
        """Tones, a chirp, noise, a click and silence of several lengths, and a stereo sound at another rate."""
        from molgen_plugins.audio import examples

        return examples.examples()

    def canonical(self, item: Item) -> Sound | Invalid:
        """The samples of a sound, or why there are none; see `sound.canonical`. Never raises on bad data."""
        from molgen_plugins.audio import sound

        return sound.canonical(item)

    def key(self, item: Item) -> str:
        """The rate, the length and a hash of the samples."""
        from molgen_plugins.audio import sound

        return sound.key(item)

    def suites(self) -> Mapping[str, Suite]:
        """Metrics of distributions by the digit network, with its classes, and by levels in bands of any sounds."""
        return SUITES

    def descriptors(self) -> Descriptors:
        """Duration, levels, clipping, silence and brightness (NaN where there is no sound); no filters."""
        from molgen_plugins.audio import properties, sound

        return described(sound.canonical, properties.PROPERTIES, properties.FEATURES)

    def read(
        self, source: str | Path | IO[bytes], *, format: str | None = None, column: str | None = None
    ) -> Iterator[Record]:
        """The sounds of a folder, an archive, a table or a single file; see `files.read`."""
        from molgen_plugins.audio.io import files

        return files.read(source, format=format, column=column)

    def write(
        self, rows: Iterable[Mapping[str, Any]], target: str | Path | IO[bytes], *, format: str | None = None
    ) -> int:
        """Write rows with the column `audio` as a folder of WAV, FLAC or Ogg files, `.zip` or `.csv`; see `files`."""
        from molgen_plugins.audio.io import files

        return files.write(rows, target, format=format)

    def stored(self, item: Item) -> str | bytes:
        """The sound as a WAV file."""
        from molgen_plugins.audio import sound

        return sound.encoded(item)

    def from_stored(self, value: str | bytes) -> Item | Invalid:
        """The samples of a sound that lies in a column as a file."""
        return self.canonical(value)

    def canary(self, rng: np.random.Generator, items: Sequence[Item]) -> Item | Invalid:
        """A random melody of pure tones, as long and of the rate of the first of some real sounds."""
        from molgen_plugins.audio import examples

        first = items[0] if items else examples.examples()[0]
        return examples.melody(rng, first.samples.shape, first.rate)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether it is a sound, a folder or an archive with sounds in it, or a table of sounds."""
        from molgen_plugins.audio.io import files

        return files.recognises(path)

    def draw(self, items: Sequence[Item], legends: Sequence[str] | None = None) -> str:
        """Waveforms and spectrograms of up to 100 sounds as one SVG document without external references."""
        from molgen_plugins.audio.io import drawing

        return drawing.sheet(items, legends)

    def audible(self, item: Item) -> bytes | None:
        """The sound as a WAV file."""
        from molgen_plugins.audio import sound

        return sound.encoded(item)
