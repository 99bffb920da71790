"""A model version, pinned by the digest of its package."""

import re

import msgspec

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""What a product or a model version may be called."""


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model version and the sha256 of its package's manifest."""

    name: str
    version: str
    sha256: str

    @property
    def has_valid_names(self) -> bool:
        """Whether name and version match `NAME`: they become names of folders."""
        return NAME.fullmatch(self.name) is not None and NAME.fullmatch(self.version) is not None
