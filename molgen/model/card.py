"""The card of a model: what it is, what it learned from, what it is for, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molgen import __version__
from molgen.config import ModelConfig


def model_card(config: ModelConfig, info: Mapping[str, Any]) -> str:
    """The card of one model.

    Args:
        config: its parts.
        info: JSON values; `title`, `data`, `training`, `privacy` and `use` have places of their own here.
    """
    data = info.get("data", {})
    sections = [
        f"---\nlibrary_name: molgen\ntags: [generative, {config.domain}, {config.family.name}]\n---",
        f"# {info.get('title', f'{config.family.name} over {config.encoder.name}')}",
        _table("Parts", {kind: _describe(config, kind) for kind in ("encoder", "family", "backbone")}),
        _table("Training data", data),
        _table("Training", info.get("training", {})),
        _table("Differential privacy", info.get("privacy", {})),
        "## Use\n\n" + info.get("use", _USE),
        f"Made with molgen {__version__}. Cite the training data as said above, and molgen by its CITATION.cff.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


_USE = (
    "Draws and scores samples like its training data. A sample is a proposal: it was neither made nor tested, "
    "and nothing here says that it is safe, effective, new to the literature or free of patents."
)


def _describe(config: ModelConfig, kind: str) -> str:
    part = getattr(config, kind)
    settings = ", ".join(f"{name}={value}" for name, value in part.settings.items())
    return f"`{part.name}`" + (f" ({settings})" if settings else "")


def _table(title: str, values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in values.items())
    return f"## {title}\n\n| | |\n|---|---|\n{rows}"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
