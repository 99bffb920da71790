"""Write docs/reference/product.md and policy.md from the spec's types, defaults and docstrings.

`python -m tools.product_reference`; a test holds that the pages are as written.
"""

import ast
import inspect
import types
import typing
from pathlib import Path
from typing import Any

import msgspec

from beacon_core.domain import policy
from beacon_core.domain.derived import Formula, Lag
from beacon_core.domain.feature import FeatureEntry
from beacon_core.domain.product_entry import Entity, ProductEntry, Segment, Target, Times, Training
from beacon_core.domain.retention import Retention
from beacon_core.domain.source import DataLimits, Format, RowLimits, SourceEntry, SqlQuery
from tools.field_docstrings import field_docstrings
from tools.generated import table

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
Struct = type[msgspec.Struct]
PRODUCT: tuple[tuple[str, Struct, str], ...] = (
    ("Top level", ProductEntry, ""),
    ("source", SourceEntry, "Exactly one place: file, folder, https, s3, url, sql or kaggle."),
    ("source.format", Format, "Every key may be left out: it is then found from the file, and shown."),
    ("source.sql", SqlQuery, ""),
    ("data.rows", RowLimits, ""),
    ("data.limits", DataLimits, "Shares and distances, above 0 and at most 1.\nAbove a limit the data are refused."),
    ("entity", Entity, ""),
    ("time", Times, ""),
    ("target", Target, ""),
    ("features.NAME", FeatureEntry, ""),
    ("features.NAME.derived: a formula", Formula, "Exactly one of these keys.\nOnly the model has the column."),
    ("features.NAME.derived: a lag", Lag, "The feature store has it; it needs an entity and `time.event`."),
    ("segments.NAME", Segment, ""),
    ("training", Training, ""),
)
POLICY: tuple[tuple[str, Struct, str], ...] = (
    ("Top level", policy.Policy, ""),
    ("serving", policy.Serving, ""),
    ("quality", policy.Quality, ""),
    ("drift", policy.Drift, "[Drift](../explanation/drift.md) explains every limit."),
    ("evidence", policy.Evidence, "[API keys](../how-to/api-keys.md) says what a key is."),
    ("retraining", policy.Retraining, ""),
    ("promotion", policy.Promotion, "[The verdict](../explanation/verdict.md) explains every limit."),
    ("approvals", policy.Approvals, "[Logins](../how-to/logins.md) says whose names count."),
    ("rollout", policy.Rollout, "[Promotion](../explanation/promotion.md) explains every limit."),
    ("monitoring", policy.Monitoring, "[Alerts](alerts.md) read them as `beacon_threshold`."),
    ("retention", Retention, "[Retention](../how-to/retention.md) says what each of them deletes, and when."),
)
HEADS = {
    "product.md": (
        "# product.yaml, key by key",
        "What the data and the model of a product are.\n"
        "`python -m tools.product_reference` writes this page from the code.\n"
        "[Your own table](../tutorials/your-own-table.md) makes a first product.yaml.\n"
        "[Schema changes](../explanation/schema-changes.md) says what a change means.\n",
    ),
    "policy.md": (
        "# policy.yaml, key by key",
        "How a model is judged, promoted and watched, and how long data is kept.\n"
        "The file lies beside product.yaml; every key may be left out, and the file too.\n"
        "No model follows from it, so a changed limit retrains nothing.\n"
        "`python -m tools.product_reference` writes this page from the code.\n",
    ),
}
NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null", Any: "mapping"}


def meanings(kind: Struct) -> dict[str, str]:
    """The docstring of each field, those of base classes first."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, msgspec.Struct) and base.__module__.startswith("beacon_core"):
            found |= meanings_in(inspect.getsource(base))
    return found


def meanings_in(source: str) -> dict[str, str]:
    """The docstring of each field of the class in `source`; raises ValueError for a field without one."""
    [(name, body)] = [(node.name, node.body) for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    found: dict[str, str] = {}
    for field, text in field_docstrings(body).items():
        if text is None:
            raise ValueError(f"{name}.{field} has no docstring")
        found[field] = text
    return found


def shown_type(kind: Any) -> str:
    """A type as people write its values."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(map(str, arguments))
    if origin in {typing.Union, types.UnionType}:
        parts = dict.fromkeys(shown_type(each) for each in arguments if each is not type(None))
        return " or ".join(parts) + (" or null" if type(None) in arguments else "")
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"list of {shown_type(arguments[0])}"
        return f"[{', '.join(map(shown_type, arguments))}]"
    if origin is dict:
        return "mapping" if arguments[1] is Any else f"mapping to {shown_type(arguments[1])}"
    if inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
        return "mapping"
    return NAMES.get(kind) or str(kind)


def shown_default(field: Any) -> str:
    """A default as product.yaml spells it; `needed` without one."""
    if field.default_factory is not msgspec.NODEFAULT:
        return "empty"
    value = field.default
    if value is msgspec.NODEFAULT:
        return "needed"
    if isinstance(value, msgspec.Struct):
        return "its defaults"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"`[{', '.join('null' if each is None else str(each) for each in value)}]`" if value else "empty"
    return f"`{value}`" if value != "" else "empty"


def keys(kind: Struct) -> str:
    """One row per key."""
    texts, hints = meanings(kind), typing.get_type_hints(kind)
    rows = [
        (f"`{field.name}`", shown_type(hints[field.name]), shown_default(field), texts[field.name])
        for field in msgspec.structs.fields(kind)
    ]
    return table(("key", "value", "default", "meaning"), rows)


def pages() -> dict[str, str]:
    """The content of each page, by its file's name."""
    found = {}
    for name, parts in (("product.md", PRODUCT), ("policy.md", POLICY)):
        title, text = HEADS[name]
        sections = [f"## {head}\n\n{note + chr(10) * 2 if note else ''}{keys(kind)}" for head, kind, note in parts]
        found[name] = "\n".join([f"{title}\n", text, *sections])
    return found


if __name__ == "__main__":
    for file, content in pages().items():
        (FOLDER / file).write_text(content, encoding="utf-8")
