"""Data that a Debian package holds: downloaded by apt-get, verified, and read without being installed."""

from __future__ import annotations

import io
import lzma
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from molgen.dataset import Progress
from molgen.errors import MolgenError
from molgen_datasets.cache import MIRROR, Pin, mirrored, scratch, store

#: What an ar archive begins with, the length of the header of a member, and where in it the length of the member is.
_MAGIC, _HEADER, _LENGTH = b"!<arch>\n", 60, slice(48, 58)
#: What may be unpacked from a package: so many times its own size, and a megabyte for the headers of small files.
_UNPACKED, _HEADERS = 20, 1 << 20


@dataclass(frozen=True)
class Package:
    """A package of Debian: its name, its version, the name of its file, and what that must be."""

    project: str
    version: str
    filename: str
    pin: Pin


def obtain(package: Package, path: Path, progress: Progress | None) -> None:
    """Put the file of a package, verified, to a path: from the mirror folder, or by `apt-get download`.

    Raises:
        MolgenError: the package cannot be had, or is not what was pinned.
    """
    found = mirrored(package.filename)
    if found is not None:
        with found.open("rb") as stream:
            store(stream, path, package.pin, str(found))
        return
    with (
        scratch(path.parent, package.pin.size) as temporary,
        _download(package, temporary, progress).open("rb") as stream,
    ):
        store(stream, path, package.pin, f"{package.filename} as apt-get downloaded it")


def _download(package: Package, folder: Path, progress: Progress | None) -> Path:
    apt = shutil.which("apt-get")
    if apt is None:
        raise MolgenError(f"{package.project} is downloaded by apt-get, which this system lacks: {_otherwise(package)}")
    if progress is not None:
        progress(0, package.pin.size)
    command, pipe = [apt, "download", f"{package.project}={package.version}"], subprocess.PIPE
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT)
    found = next(folder.glob("*.deb"), None)
    if done.returncode or found is None:
        lines = done.stdout.decode("utf-8", "replace").split("\n")
        said = " ".join(line[3:] for line in lines if line.startswith("E: ")) or f"exit status {done.returncode}"
        raise MolgenError(
            f"apt-get cannot download {package.project}={package.version} ({said}): {_otherwise(package)}"
        )
    if progress is not None:
        progress(package.pin.size, package.pin.size)
    return found


def _otherwise(package: Package) -> str:
    return f"put {package.filename} ({package.pin}) into a folder and name that in {MIRROR}"


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the files that a package would install, in its order; nothing is written.

    Raises:
        MolgenError: it is damaged, or its content is compressed otherwise than by xz.
    """
    try:
        data = _data(path.read_bytes())
        with lzma.open(io.BytesIO(data)) as stream:
            unpacked = stream.read(_UNPACKED * len(data) + _HEADERS + 1)
        if len(unpacked) > _UNPACKED * len(data) + _HEADERS:
            raise ValueError("it unpacks to more than there can be")
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    yield member.name.removeprefix("./"), file.read()
    except (OSError, EOFError, ValueError, lzma.LZMAError, tarfile.TarError) as error:
        raise MolgenError(f"{path} is damaged ({error})") from error


def _data(content: bytes) -> bytes:
    """The member `data.tar.xz` of an ar archive."""
    if not content.startswith(_MAGIC):
        raise ValueError("it is no package of Debian")
    place = len(_MAGIC)
    while place + _HEADER <= len(content):
        header = content[place : place + _HEADER]
        size, place = int(header[_LENGTH]), place + _HEADER
        if header[:16].rstrip(b"/ ") == b"data.tar.xz":
            return content[place : place + size]
        place += size + size % 2
    raise ValueError("it has no data.tar.xz")
