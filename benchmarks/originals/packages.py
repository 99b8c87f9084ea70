"""The original packages, unpacked from their wheels and never installed.

They run in a process of their own, which `shims` prepares. The versions are the last ones on the
package index; each wheel is checked against its SHA-256 before anything in it is run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from molgen.atomic_files import replaced_folder
from molgen.data.cache import cache_folder
from molgen.errors import MolgenError
from molgen_datasets.cache import mirrored
from molgen_datasets.wheel import Wheel, pip_command


@dataclass(frozen=True)
class Package:
    """A pure-Python wheel whose code is run."""

    project: str
    version: str
    sha256: str

    @property
    def wheel(self) -> Wheel:
        """The wheel as the data sets name one."""
        return Wheel(self.project, self.version, 0, {})


MOSES = Package("molsets", "0.3.1", "7f4450e3ebecebe79c3a2a55950c93daddee071120daf64a163d03481e811d34")
FCD_TORCH = Package("fcd_torch", "1.0.7", "63a24aae88c554a7ba6422cffdef3ad7c1befec73f835b70ead04097a1ebed6f")
GUACAMOL = Package("guacamol", "0.5.5", "9fea8922fa11513d605a2f97b72aa1b4b82c2109f6366b0ccb0bbdeabddaa131")


def add_to_path(*packages: Package) -> None:
    """Make packages importable in this process, ahead of installed ones."""
    sys.path[:0] = [str(unpacked(package)) for package in packages]


def unpacked(package: Package) -> Path:
    """The folder with a package, in the cache; downloaded with pip unless it lies in the mirror folder.

    Raises:
        MolgenError: it cannot be had, or is not the wheel that was pinned.
    """
    folder = cache_folder() / "originals" / f"{package.project}-{package.version}"
    if not folder.is_dir():
        with TemporaryDirectory() as temporary:
            wheel = mirrored(package.wheel.filename) or _downloaded(package.wheel, Path(temporary))
            if hashlib.sha256(wheel.read_bytes()).hexdigest() != package.sha256:
                raise MolgenError(f"{wheel} is not the wheel that is needed")
            with replaced_folder(folder) as new, ZipFile(wheel) as archive:
                archive.extractall(new)
    return folder


def _downloaded(wheel: Wheel, folder: Path) -> Path:
    done = subprocess.run(pip_command(wheel, folder), capture_output=True, text=True)
    if done.returncode:
        raise MolgenError(f"pip cannot download {wheel.project}=={wheel.version}: {done.stderr.strip()[-300:]}")
    return folder / wheel.filename
