"""Write the table of docs/reference/settings.md from the settings: `python -m tools.settings_page`."""

import ast
from pathlib import Path
from typing import Any

import msgspec

from beacon_core.platform import settings
from tools.field_docstrings import field_docstrings
from tools.generated import Part, table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "settings.md"
PART = Part("settings", "settings_page")


def meanings(source: str) -> dict[str, str]:
    """The docstring of each field of `Settings`."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    [body] = [node.body for node in classes if node.name == "Settings"]
    found: dict[str, str] = {}
    for field, text in field_docstrings(body).items():
        if text is None:
            raise ValueError(f"the setting {field} has no docstring")
        found[field] = text
    return found


def shown(value: Any) -> str:
    """A default as people write it: a path from the checkout, nothing where it is not set."""
    if isinstance(value, Path):
        return f"`{value.relative_to(settings.ROOT)}` in the checkout"
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or (isinstance(value, tuple) and not any(value)) else str(value)


def current(page: str) -> str:
    """The page as it should be."""
    texts = meanings(Path(settings.__file__).read_text(encoding="utf-8"))
    rows = [
        (f"`{settings.PREFIX}{field.name.upper()}`", shown(field.default), texts[field.name])
        for field in msgspec.structs.fields(settings.Settings)
    ]
    return PART.put(page, table(("variable", "default", "meaning"), rows))


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
