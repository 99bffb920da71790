"""Addresses with `${NAME}`: the environment's values, which no message shows."""

import os
from collections.abc import Mapping

from beacon_core.domain.masking import MASK, mask
from beacon_core.domain.source import VARIABLE, Source
from beacon_core.sources.errors import FetchRefusedError


def expand(source: Source, environment: Mapping[str, str] = os.environ) -> str:
    """The source's address with the values of its variables; raises `FetchRefusedError` for one that is not set."""
    missing = [name for name in VARIABLE.findall(source.place) if not environment.get(name)]
    if missing:
        rule = "is not set; the address of the source needs it"
        raise FetchRefusedError(f"{source.name}: the environment variable {', '.join(missing)} {rule}")
    return VARIABLE.sub(lambda match: environment[match[1]].strip(), source.place)


def masked(text: str, source: Source, environment: Mapping[str, str] = os.environ) -> str:
    """`text` on one line, without the values of the source's variables, and without other credentials."""
    for name in VARIABLE.findall(source.place):
        value = environment.get(name, "").strip()
        if value:
            text = text.replace(value, MASK)
    return " ".join(mask(text).split())[:300]
