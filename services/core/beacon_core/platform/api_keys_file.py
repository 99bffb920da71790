"""Reads the file of API keys."""

from pathlib import Path

from beacon_core.domain.api_keys import ApiKey, ApiKeysError, parse_api_keys
from beacon_core.domain.yaml_text import YamlError, parse_yaml

MOST_VALUES = 1_000_000
"""Of a file that a program may have written: 10,000 keys with all scopes have 130,000."""


def read_content(file: Path) -> bytes:
    """Read the file; raises `ApiKeysError`."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ApiKeysError(file, "(file)", error.strerror or type(error).__name__) from error


def read_api_keys(file: Path, content: bytes | None = None) -> tuple[ApiKey, ...]:
    """Check a YAML or JSON file of API keys, whose content may be known; raises `ApiKeysError` with key and rule."""
    try:
        return parse_api_keys(file, parse_yaml(read_content(file) if content is None else content, MOST_VALUES))
    except YamlError as error:
        raise ApiKeysError(file, error.key, error.rule) from error
