"""The autoregressive family: see `parts.token_model`, which the decoders of others use as well."""

from __future__ import annotations

from dataclasses import dataclass

from molgen.families.parts.token_model import TokenConfig, TokenModel


@dataclass(frozen=True)
class AutoregressiveConfig(TokenConfig):
    """The settings of a token model."""


class Autoregressive(TokenModel):
    """loss = -log p(x), exact; sampling decides slice after slice and stops where END is drawn."""

    Config = AutoregressiveConfig
