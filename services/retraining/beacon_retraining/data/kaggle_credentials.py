"""Kaggle's credentials, checked before its client runs.

Whatever looks like credentials means that somebody wants Kaggle's data. Unusable credentials are an error, and the
bundled sample never replaces Kaggle's data. This module reads what Kaggle's client reads, in the same order
(kagglesdk's kaggle_env.py and kaggle_creds.py, kaggle_api_extended.py); no message quotes it.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from beacon_core.sources.errors import FetchRefusedError

TOKENS = ("access_token", "access_token.txt")
LEGACY, OAUTH = "kaggle.json", "credentials.json"
BEGINNINGS = ("access_token", "kaggle", "credentials")
"""Of files that look like credentials, also of `kaggle (1).json` and `kaggle.json.txt`."""
LEGACY_VARIABLES = {"username": "KAGGLE_USERNAME", "key": "KAGGLE_KEY"}
TOKEN_VARIABLE = "KAGGLE_API_TOKEN"  # noqa: S105 - its name, no secret
VARIABLES = (TOKEN_VARIABLE, *LEGACY_VARIABLES.values())
OTHER_VARIABLES = re.compile(r"KAGGLE_(API_|ACCESS_)?(TOKEN|KEY|USER|USERNAME|USER_NAME|LOGIN|PASSWORD|SECRET)")
"""Names that people give to credentials, beside the three that the client reads."""
VALID = ""


def find_credentials(environment: Mapping[str, str] = os.environ) -> str | None:
    """Name the credentials that Kaggle's client will use; None where nothing looks like any.

    Raises `FetchRefusedError` where something does and is unusable.
    """
    problems = []
    for name, problem in _sources(environment):
        if problem == VALID:
            return name
        problems.append(f"{name}: {problem}")
    if not problems:
        return None
    raise FetchRefusedError(f"Kaggle's credentials cannot be used: {'; '.join(problems)}")


def _sources(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Whatever looks like credentials, in the client's order, and what is wrong with it."""
    user = Path(environment.get("HOME") or "~").expanduser()
    home, xdg = user / ".kaggle", Path(environment.get("XDG_CONFIG_HOME") or user / ".config") / "kaggle"
    config_dir = environment.get("KAGGLE_CONFIG_DIR")
    config = Path(config_dir) if config_dir else home if os.path.lexists(home) else xdg
    if token := environment.get(TOKEN_VARIABLE):
        yield TOKEN_VARIABLE, _token_problem(Path(token)) if _is_path(token) else _line_problem(token)
    for name in TOKENS:
        if os.path.lexists(home / name):
            yield str(home / name), _token_problem(home / name)
    yield from _legacy(environment, config / LEGACY)
    if os.path.lexists(home / OAUTH):
        yield str(home / OAUTH), _json_problem(home / OAUTH, ("refresh_token",))
    read = {home / name for name in (*TOKENS, OAUTH)} | {config / LEGACY}
    yield from _unread((home, xdg, config), read)
    for name in sorted(environment):
        if environment[name] and OTHER_VARIABLES.fullmatch(name.upper()) and name not in VARIABLES:
            yield name, f"is not read by Kaggle's client; {', '.join(VARIABLES)} are"
    if config_dir and not os.path.lexists(config / LEGACY):
        yield "KAGGLE_CONFIG_DIR", f"{config} holds no {LEGACY}"


def _legacy(environment: Mapping[str, str], file: Path) -> Iterator[tuple[str, str]]:
    """User and key: of the variables, and what they lack, from the file."""
    given = {part: environment[name] for part, name in LEGACY_VARIABLES.items() if environment.get(name)}
    names = " and ".join(LEGACY_VARIABLES[part] for part in given)
    lacking = tuple(part for part in LEGACY_VARIABLES if part not in given)
    there = os.path.lexists(file)
    if not given and not there:
        return
    problems = [problem for text in given.values() if (problem := _line_problem(text))]
    if problems:
        yield names, problems[0]
    elif not lacking:
        yield names, VALID
    elif there:
        yield " and ".join(filter(None, (names, str(file)))), _json_problem(file, lacking)
    else:
        yield names, f"{LEGACY_VARIABLES[lacking[0]]} is not set beside it"


def _unread(folders: tuple[Path, ...], read: set[Path]) -> Iterator[tuple[str, str]]:
    """Files that look like credentials where, or by a name that, the client does not read."""
    for folder in dict.fromkeys(folders):
        if not os.path.lexists(folder):
            continue
        try:
            files = sorted(folder.iterdir())
        except OSError as error:
            yield str(folder), f"cannot be read: {error.strerror}"
            continue
        for file in files:
            if file.name.lower().startswith(BEGINNINGS) and file not in read and file.is_file():
                yield str(file), "is not read by Kaggle's client, at that place or by that name"


def _is_path(text: str) -> bool:
    """Whether it is meant as one: the client would send the path of a file that is not there as the token."""
    try:
        return "/" in text or Path(text).exists()
    except (OSError, ValueError):  # too long for a path, or with a character that no path has
        return False


def _token_problem(file: Path) -> str:
    text, problem = _text(file)
    return problem or _line_problem(text.strip())


def _json_problem(file: Path, wanted: tuple[str, ...]) -> str:
    text, problem = _text(file)
    if problem:
        return problem
    try:
        content: Any = json.loads(text)
    except ValueError:
        return "is not JSON"
    if not isinstance(content, dict):
        return "is not a JSON object"
    for name in wanted:
        value = content.get(name)
        if not isinstance(value, str) or not value:
            return f"has no text for {name!r}"
        if problem := _line_problem(value):
            return f"{name!r} {problem}"
    return VALID


def _text(file: Path) -> tuple[str, str]:
    """A file's text and what is wrong with it."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return "", "is not text in UTF-8"
    return text, VALID if text.strip() else "is empty"


def _line_problem(text: str) -> str:
    fine = text.isascii() and text.isprintable() and text == text.strip()
    return VALID if fine else "holds a blank at an end, a line break or a character that no header can hold"
