"""3Dmol.js, by which a page shows molecules in space; fetched once and verified as data are, and never run here."""

from __future__ import annotations

from molgen.data.cache import cache_folder
from molgen.dataset import Progress
from molgen_datasets.cache import Pin, holds
from molgen_datasets.npm import Package, obtain

#: Rego and Koes, Bioinformatics 31(8), 2015; BSD-3-Clause.
PACKAGE = Package(
    project="3dmol",
    version="2.5.5",
    size=4_231_158,
    members={
        "package/build/3Dmol-min.js": Pin(537_792, "f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016")
    },
    others=32 << 20,
)
_FILE = "3Dmol-min.js"


def script(progress: Progress | None = None) -> str:
    """The library as one script.

    Raises:
        MolgenError: it cannot be had, or is not what was pinned.
    """
    folder = cache_folder() / "viewers" / f"{PACKAGE.project}-{PACKAGE.version}"
    path = folder / _FILE
    if not holds(path, PACKAGE.files[_FILE]):
        folder.mkdir(parents=True, exist_ok=True)
        obtain(PACKAGE, [_FILE], folder, progress)
    return path.read_text(encoding="utf-8")
