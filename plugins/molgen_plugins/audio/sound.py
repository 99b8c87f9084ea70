"""What a sound is: 16-bit samples at a rate, or the bytes of a file that holds them.

Letters in shapes: N samples of each channel.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile

from molgen.domain import Invalid, Item
from molgen_plugins.media.containers import FILE_LIMIT

#: The formats of files that are decoded: each further one is more code that hostile files can reach.
FORMATS = {"WAV": "WAV", "WAVEX": "WAV", "FLAC": "FLAC", "OGG": "OGG"}
#: Samples of all channels beyond which a sound is refused, before it is decoded: half an hour at 8 kHz.
SAMPLE_LIMIT = 1 << 24
#: The lowest and the highest sampling rate, in Hz.
RATES = (100, 768_000)
#: One more than the largest sample; samples are multiples of 1 / FULL_SCALE of the largest amplitude.
FULL_SCALE = 1 << 15


@dataclass(frozen=True, eq=False)
class Sound:
    """A clip of sound, mono or stereo.

    Attributes:
        samples: int16 (N,) or (N, 2), left before right; 32768 would be full scale.
        rate: samples of each channel in a second.
    """

    samples: np.ndarray
    rate: int

    def __repr__(self) -> str:
        """Short, because sounds stand in messages and tables."""
        shape = "x".join(map(str, np.shape(self.samples)))
        return f"Sound({shape} samples at {self.rate} Hz)"

    @classmethod
    def of(cls, values: np.ndarray, rate: int) -> Sound:
        """The sound of floating-point values, (N,) or (N, 2), of which -1 to 1 is full scale.

        They are rounded to 16 bits, and what is beyond full scale is clipped to it.
        """
        scaled = np.rint(np.asarray(values, np.float64) * FULL_SCALE)
        return cls(scaled.clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16), int(rate))

    def values(self) -> np.ndarray:
        """The samples as float64 from -1 to 1, (N,) or (N, 2); `Sound.of` is the inverse."""
        return self.samples / FULL_SCALE

    def mono(self) -> np.ndarray:
        """The mean of the channels as float64 from -1 to 1, (N,)."""
        values = self.values()
        return values if values.ndim == 1 else values.mean(1)

    @property
    def channels(self) -> int:
        """1 for mono, 2 for stereo."""
        return 1 if self.samples.ndim == 1 else 2

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate


def canonical(item: Item) -> Sound | Invalid:
    """A sound with a contiguous array of int16, (N,) or (N, 2), or why it is none. Never raises on bad data.

    The bytes of a file are decoded, (N, 1) becomes (N,).
    """
    if isinstance(item, bytes):
        return decoded(item)
    if not isinstance(item, Sound):
        return Invalid(f"a sound is a Sound(samples, rate) or the bytes of a file, not {type(item).__name__}")
    samples = item.samples
    if not isinstance(samples, np.ndarray) or samples.dtype != np.int16:
        return Invalid("samples are whole numbers of 16 bits (an array of int16; Sound.of makes it of numbers to 1)")
    if samples.ndim not in (1, 2) or samples.shape[1:] not in ((), (1,), (2,)):
        return Invalid(f"a sound has the shape (samples,) or (samples, 2), not {samples.shape}")
    problem = _problem(samples.shape[0], samples.size // max(1, samples.shape[0]), item.rate)
    if problem is not None:
        return problem
    return Sound(np.ascontiguousarray(samples[:, 0] if samples.shape[1:] == (1,) else samples), int(item.rate))


def _problem(frames: int, channels: int, rate: Any) -> Invalid | None:
    if not frames:
        return Invalid("the sound has no samples")
    if channels > 2:
        return Invalid(f"the sound has {channels} channels: mix it down to mono or stereo first")
    if frames * channels > SAMPLE_LIMIT:
        return Invalid(f"the sound is too long ({frames * channels:,} samples; at most {SAMPLE_LIMIT:,})")
    if not isinstance(rate, int | np.integer) or not RATES[0] <= rate <= RATES[1]:
        return Invalid(f"a sampling rate is a whole number from {RATES[0]} to {RATES[1]:,} Hz, not {rate}")
    return None


def key(sound: Sound) -> str:
    """A hash of the samples of a canonical sound, with rate, length and channels in front for people to read."""
    shape = "x".join(map(str, sound.samples.shape))
    digest = hashlib.blake2b(np.ascontiguousarray(sound.samples, "<i2").data, digest_size=16).hexdigest()
    return f"{sound.rate}-{shape}-{digest}"


def decoded(data: bytes) -> Sound | Invalid:
    """The sound in the bytes of a WAV, FLAC or Ogg file, or why there is none.

    What has more than 16 bits is rounded to them; floating-point values beyond full scale are clipped.
    """
    if not data:
        return Invalid("the file is empty")
    if len(data) > FILE_LIMIT:
        return Invalid(f"the file is larger than {FILE_LIMIT >> 20} MiB")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return _read(file)
    except soundfile.LibsndfileError:
        return Invalid("the file is no whole sound of the formats WAV, FLAC or Ogg")
    except MemoryError:
        raise
    except Exception as error:  # what a damaged header makes of a format is not for us to list
        return Invalid(f"the file is damaged ({error})")


def _read(file: soundfile.SoundFile) -> Sound | Invalid:
    if file.format not in FORMATS:
        return Invalid(f"the file is a sound of the format {file.format}; WAV, FLAC and Ogg are read")
    problem = _problem(file.frames, file.channels, file.samplerate)
    if problem is not None:
        return problem
    values = file.read(dtype="float64")
    if not len(values):
        return Invalid("the sound has no samples")
    if not np.isfinite(values).all():
        return Invalid("the sound has samples that are no numbers")
    return Sound.of(values, file.samplerate)


def encoded(sound: Sound, format: str = "WAV") -> bytes:
    """A canonical sound as a file: WAV and FLAC keep all 16 bits, OGG (Vorbis) loses some of them."""
    stream = io.BytesIO()
    subtype = "VORBIS" if format == "OGG" else "PCM_16"
    soundfile.write(stream, sound.samples, sound.rate, format=format, subtype=subtype)
    return stream.getvalue()
