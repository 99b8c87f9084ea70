"""Users' sounds: folders, `.zip` archives, `.csv` tables and single files; see `media.files`.

They are written as WAV, FLAC or Ogg files: WAV and FLAC keep every sample, Ogg Vorbis does not.
"""

from __future__ import annotations

from functools import partial

from molgen_plugins.audio.sound import Sound, canonical, encoded
from molgen_plugins.media.files import Files
from molgen_plugins.media.kind import Encoding, Kind

#: Sounds in files, also of kinds that are then refused with a reason.
SOUNDS = Kind(
    noun="sound",
    plural="sounds",
    column="audio",
    forms=("audio", "canonical_audio", "as_generated"),
    usual=("audio", "sound", "file", "file_name", "filename", "path", "wav", "clip"),
    endings=("wav", "wave", "flac", "ogg", "oga", "aif", "aiff", "au", "mp3", "opus", "m4a"),
    shown=".wav, .flac or .ogg",
    held=Sound,
    canonical=canonical,
    arrays={},
)
FILES = Files(
    SOUNDS,
    encodings=(
        Encoding("wav", "audio/wav", encoded),
        Encoding("flac", "audio/flac", partial(encoded, format="FLAC")),
        Encoding("ogg", "audio/ogg", partial(encoded, format="OGG")),
    ),
    listed=("wav, flac, ogg, zip or csv", "a folder (without an ending), a .zip or a .csv"),
)
find_format, written_format, recognises = FILES.find_format, FILES.written_format, FILES.recognises
read, write = FILES.read, FILES.write
