"""From `molgen plugins new` to a trained model and samples, in a fresh environment: seconds of each step.

    python benchmarks/first_domain.py

A new virtual environment gets molgen by pip from this checkout; the libraries that it needs are those of the
environment that runs this script, as their download says nothing about molgen. Then come the commands of the guide,
with the tables plugin of `tests/third_party` in the place of what an author types, on the passengers of the Titanic.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from common import write_result
from tables import titanic

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "tests" / "third_party" / "tables" / "molgen_tables.py"
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")


class Walk:
    """Runs commands in a folder and keeps how long each took."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seconds = folder, dict[str, float]()
        self.bin = folder / "env" / "bin"

    def run(self, label: str, *command: str | Path) -> str:
        """One command, which must not fail; its standard output."""
        start = time.perf_counter()
        done = subprocess.run([*map(str, command)], cwd=self.folder, capture_output=True, text=True)
        self.seconds[label] = round(time.perf_counter() - start, 1)
        print(f"{self.seconds[label]:6.1f} s  {label}", flush=True)
        if done.returncode:
            sys.exit(f"{label}: {done.stdout}\n{done.stderr}")
        return done.stdout

    def environment(self) -> None:
        """A virtual environment that sees the libraries of this one."""
        self.run("environment", sys.executable, "-m", "venv", "env")
        [site] = (self.folder / "env" / "lib").glob("python*/site-packages")
        paths = [sysconfig.get_path("purelib"), *(p for p in sys.path if p.endswith("site-packages"))]
        (site / "libraries.pth").write_text("\n".join(dict.fromkeys(paths)) + "\n")

    def write_table(self) -> None:
        """The rows that the model learns from."""
        rows = titanic()
        with (self.folder / "titanic.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def main() -> None:
    """Walk and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="of training")
    parser.add_argument("--result", default="first-domain", help="name of the result file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        walk = Walk(Path(folder))
        walk.environment()
        python, molgen = walk.bin / "python", walk.bin / "molgen"
        walk.run("molgen", python, *PIP, ROOT)
        walk.run("plugins new", molgen, "plugins", "new", "tables")
        walk.run("pip install", python, *PIP, "--editable", "./molgen-tables")
        walk.run("its tests, under every family", python, "-m", "pytest", "-q", "molgen-tables")
        shutil.copy(PLUGIN, walk.folder / "molgen-tables" / "molgen_tables" / "__init__.py")
        walk.run("plugins check", molgen, "plugins", "check", "tables", "--only", "tables: *")
        walk.write_table()
        settings = ("backbone.width=96", f"training.steps={args.steps}", "training.validation=0")
        walk.run("train", molgen, "train", "--data", "titanic.csv", "encoder=tables", *settings, "--output", "run")
        walk.run("generate 1,000 rows", molgen, "generate", "--model", "run", "-n", "1000", "-o", "new.csv")
        walk.run("score the table", molgen, "score", "titanic.csv", "--model", "run", "-o", "scored.csv")
        judge = ("--domain", "tables", "--reference", "titanic.csv", "--format", "json")
        figures = walk.run("evaluate", molgen, "evaluate", "new.csv", *judge)
        total = sum(seconds for label, seconds in walk.seconds.items() if label not in ("environment", "molgen"))
        found = {"steps": args.steps, "seconds": walk.seconds, "total": round(total, 1), "figures": json.loads(figures)}
        write_result(args.result, found, ("scikit-learn",))


if __name__ == "__main__":
    main()
