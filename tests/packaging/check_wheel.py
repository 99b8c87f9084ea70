"""Check what a wheel holds: python tests/packaging/check_wheel.py dist/*.whl"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]
#: Each import package, and the folder of the repository that it lies in.
PACKAGES = {"molgen": ".", "molgen_cli": "cli", "molgen_datasets": "datasets", "molgen_plugins": "plugins"}
COMMAND = "molgen = molgen_cli.main:main"


def expected() -> set[str]:
    """Every file of the packages, data files included, under the name that it has in the wheel."""
    return {
        str(PurePosixPath(path.relative_to(ROOT / folder)))
        for package, folder in PACKAGES.items()
        for path in (ROOT / folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def problems(wheel: Path) -> Iterator[str]:
    """What is wrong with a wheel, a line each."""
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        tops = {name.partition("/")[0] for name in names}
        info = next(iter(sorted(top for top in tops if top.endswith(".dist-info"))), "")
        entry_points = archive.read(f"{info}/entry_points.txt").decode() if info else ""
    files = {name for name in names if not name.startswith(f"{info}/")}
    yield from (f"unexpected at the top: {name}" for name in sorted(tops - set(PACKAGES) - {info}))
    yield from (f"missing: {name}" for name in sorted(expected() - files))
    yield from (f"not in the repository: {name}" for name in sorted(files - expected()))
    yield from (f"missing: {name}/py.typed" for name in PACKAGES if f"{name}/py.typed" not in names)
    if f"{info}/licenses/LICENSE" not in names:
        yield "missing: the licence"
    if COMMAND not in entry_points:
        yield "missing: the command molgen"


def main() -> int:
    """Check the wheels named on the command line."""
    found = [f"{wheel}: {problem}" for wheel in sys.argv[1:] for problem in problems(Path(wheel))]
    print("\n".join(found) or f"{', '.join(sys.argv[1:])}: holds what it should")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
