"""ZINC250k: the quarter of a million drug-like molecules that many papers train on."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from molgen.dataset import Progress
from molgen.domain import Record
from molgen.errors import MolgenError, UsageError
from molgen_datasets.cache import MIRROR, Pin, mirrored, store
from molgen_datasets.source import Source, split_of

#: The content, one SMILES a line, and the two files that may hold it: compressed, or in a compressed tar archive.
CONTENT = Pin(11_302_921, "df0aa677c770f15c9943684d6600cba8e7076c67be6a090c12f24da3aaa55b70")
PLAIN, PLAIN_PIN = "zinc250k.smi.gz", Pin(2_858_320, "8c4bc20dc450f821c3439ee8ce43858118640e2f3e479d86ffcab1572ec7ae17")
ARCHIVE, MEMBER = "zinc.txt.gz", "zinc.txt"
#: What may be unpacked from either: the content, and a megabyte for the headers of an archive.
_MOST = CONTENT.size + (1 << 20)


class ZINC250k(Source):
    """ZINC250k: items are SMILES strings with stereochemistry, all of different molecules.

    Most are canonical in today's RDKit and one in sixty is not, so they are not used as stored. A
    keyed hash of the string makes the splits (`source.split_of`); papers use several others, among
    them lists of positions in the file, for which `records` has the column `index`.
    """

    domain = "molecules"
    description = "249,455 drug-like molecules from ZINC, with stereochemistry and charges"
    licence = "MIT, as the repository wenhao-gao/mol_opt states; the molecules come from ZINC"
    citation = (
        "R. Gómez-Bombarelli et al. Automatic Chemical Design Using a Data-Driven Continuous Representation of "
        "Molecules. ACS Central Science 4:268-276, 2018. doi:10.1021/acscentsci.7b00572; and J. J. Irwin et al. "
        "ZINC: A Free Tool to Discover Chemistry for Biology. Journal of Chemical Information and Modeling "
        "52:1757-1768, 2012. doi:10.1021/ci3001277"
    )
    splits: ClassVar[Mapping[str, int]] = {"train": 199_322, "valid": 24_965, "test": 25_168}
    folder = "zinc250k"
    files: ClassVar[Mapping[str, Pin]] = {"zinc250k.smi": CONTENT}
    moments = "zinc250k"

    def obtain(self, names: Collection[str], folder: Path, progress: Progress | None) -> None:
        """From the mirror folder: no package index has this file."""
        path = mirrored(PLAIN, ARCHIVE)
        if path is None:
            raise UsageError(
                f"ZINC250k cannot be downloaded: name in {MIRROR} a folder that holds {PLAIN} ({PLAIN_PIN}), or "
                f"{ARCHIVE} from the folder data of the GitHub repository wenhao-gao/mol_opt (a tar archive whose "
                f"{MEMBER} has {CONTENT})"
            )
        for name in names:
            store(io.BytesIO(_content(path)), folder / name, self.files[name], str(path))

    def read(self, split: str, folder: Path) -> Iterator[str]:
        """The SMILES strings, one a line."""
        return (smiles for _, smiles in self._numbered(split, folder))

    def columns(self, split: str) -> Mapping[str, str]:
        """The position in the file."""
        self.require_split(split)
        return {"index": "position in the published file, from 0"}

    def records(self, split: str) -> Iterator[Record]:
        """The molecules with their position in the file."""
        numbered = self._numbered(split, self.fetch(split=split))
        return (Record(row, smiles, {"index": str(index)}, smiles) for row, (index, smiles) in enumerate(numbered))

    def _numbered(self, split: str, folder: Path) -> Iterator[tuple[int, str]]:
        with (folder / "zinc250k.smi").open(encoding="ascii", newline="\n") as lines:
            for index, line in enumerate(lines):
                smiles = line[:-1]
                if split_of(smiles) == split:
                    yield index, smiles


def _content(path: Path) -> bytes:
    """What a compressed file, or the member of a compressed archive, holds."""
    try:
        unpacked = _unpacked(path)
        archive = _archive(unpacked)
        return unpacked if archive is None else _member(archive)
    except (OSError, EOFError, ValueError, zlib.error, tarfile.TarError) as error:
        raise MolgenError(f"{path} is damaged ({error})") from error


def _unpacked(path: Path) -> bytes:
    """The decompressed file, in memory: it is small, or it is refused."""
    with gzip.open(path) as stream:
        unpacked = stream.read(_MOST + 1)
    if len(unpacked) > _MOST:
        raise MolgenError(f"{path} is not the file that is needed: it unpacks to more than {_MOST:,} bytes")
    return unpacked


def _archive(unpacked: bytes) -> tarfile.TarFile | None:
    try:
        return tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:")
    except tarfile.ReadError:  # no archive, so the content itself
        return None


def _member(archive: tarfile.TarFile) -> bytes:
    """The one file that is wanted, read in place; nothing is extracted to a path that the archive names.

    The reading is bounded, because a sparse member may be larger than its archive.
    """
    for member in archive:
        if member.isreg() and PurePosixPath(member.name).name == MEMBER:
            stream = archive.extractfile(member)
            return b"" if stream is None else stream.read(CONTENT.size + 1)
    raise ValueError(f"an archive without {MEMBER}")
