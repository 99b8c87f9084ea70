"""Folders of models that tests share: they last as long as the process."""

import atexit
import shutil
from pathlib import Path
from tempfile import mkdtemp


def lasting_folder() -> Path:
    """A new folder that goes when the process ends."""
    folder = Path(mkdtemp(prefix="molgen-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
