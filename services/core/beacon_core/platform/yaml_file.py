"""Reads a YAML file."""

from pathlib import Path
from typing import Any

from beacon_core.domain.yaml_text import YamlError, parse_yaml


def read_yaml(file: Path) -> Any:
    """Read the file's one document; raises `YamlError`."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise YamlError("(file)", error.strerror or type(error).__name__) from error
    return parse_yaml(content)
