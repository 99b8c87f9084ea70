"""Contact sheets as files: SVG as domains draw them, or PNG."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from molgen.atomic_files import replaced_file, write_text
from molgen.errors import UsageError

ENDINGS = (".svg", ".png")
#: Pixels of a PNG for one of the SVG.
ZOOM = 2.0


def require_sheet(name: str | None) -> None:
    """See that a sheet of this name can be written.

    Raises:
        UsageError: it ends in something else than .svg or .png.
    """
    if name is not None and Path(name).suffix.lower() not in ENDINGS:
        raise UsageError(f"{name}: a contact sheet is an {' or a '.join(ENDINGS)} file")


def write_sheet(path: Path, svg: str) -> None:
    """Write a sheet in the format that its ending names."""
    if path.suffix.lower() != ".png":
        write_text(path, svg)
        return
    picture = png(svg)
    with replaced_file(path) as temporary:
        temporary.write_bytes(picture)


def png(svg: str) -> bytes:
    """An SVG document as PNG, with captions in a font that is the same on every machine."""
    import resvg_py
    from PIL import ImageFont

    font = ImageFont.load_default(12)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert isinstance(font.path, io.BytesIO)
    with tempfile.NamedTemporaryFile(suffix=".ttf") as file:
        file.write(font.path.getvalue())
        file.flush()
        return bytes(
            resvg_py.svg_to_bytes(
                svg_string=svg, zoom=ZOOM, font_files=[file.name], sans_serif_family=font.getname()[0]
            )
        )
