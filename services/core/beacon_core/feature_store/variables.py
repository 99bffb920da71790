"""The variables of feature_store.yaml; without Feast, which takes seconds, and which not everybody has who reads it."""

import json
import os
from collections.abc import Mapping
from string import Template
from typing import Any

from beacon_core.domain.masking import JSON_COMMA
from beacon_core.platform.settings import Settings


def variables_of(settings: Settings) -> dict[str, str]:
    """The environment's variables; REDIS_CONNECTION has the password of REDIS_PASSWORD, if it has none of its own.

    BEACON_FEAST_PROJECT is the installation's name as Feast takes it. Keys in Redis end in it, so that several
    installations can share one.
    """
    project = settings.installation.replace("-", "_")
    variables = {**os.environ, "BEACON_HOME": str(settings.home), "BEACON_FEAST_PROJECT": project}
    variables["BEACON_FILES"] = settings.files_place
    connection, password = (variables.get(name, "").strip() for name in ("REDIS_CONNECTION", "REDIS_PASSWORD"))
    if connection and password and "password=" not in connection:
        # Feast splits at commas and reads each value as JSON: a plain `1e5` would be a number.
        variables["REDIS_CONNECTION"] = f"{connection},password={json.dumps(password).replace(',', JSON_COMMA)}"
    return variables


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """The texts of `value` with ${NAME} replaced by a variable, stripped of spaces and line breaks."""
    if isinstance(value, dict):
        return {key: filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, variables) for item in value]
    if not isinstance(value, str):
        return value
    template = Template(value)
    return template.substitute({name: variables[name].strip() for name in template.get_identifiers()})


def redis_options(connection: str) -> tuple[str, dict[str, str]]:
    """The address of a connection string of Redis, and its options, whose values are JSON or plain text."""
    address, *options = connection.split(",")
    return address, {name: _text(value) for name, sign, value in (one.partition("=") for one in options) if sign}


def _text(value: str) -> str:
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return found if isinstance(found, str) else value
