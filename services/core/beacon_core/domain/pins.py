"""A model version, pinned by the digest of its package."""

import re

import msgspec

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model version and the sha256 of its package's manifest."""

    name: str
    version: str
    sha256: str
