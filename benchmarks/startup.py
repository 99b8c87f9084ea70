"""How long `molgen --help` and `import molgen` take: whole processes, minimum and median of several.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import write_result

RUNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import molgen": [sys.executable, "-c", "import molgen"],
    "molgen --help": [str(Path(sys.executable).with_name("molgen")), "--help"],
    "molgen plugins list": [str(Path(sys.executable).with_name("molgen")), "plugins", "list"],
}


def main() -> None:
    """Time each command in turn, so that drift treats all alike, and write the result file."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    figures = {name: {"minimum": min(values), "median": statistics.median(values)} for name, values in seconds.items()}
    loaded = "import sys, molgen; print('torch' in sys.modules)"
    imported = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    write_result("startup", {"seconds": figures, "torch imported by molgen": imported.stdout.strip() == "True"})


if __name__ == "__main__":
    main()
