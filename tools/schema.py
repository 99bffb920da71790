"""Write each chart's values.schema.json and README.md from its values.yaml: `make charts`.

A key's type is that of its default; the comment above it says what it means, and a line `# schema: {...}`, or the name
of a file of the chart in place of the schema, replaces the inferred one. Every map is closed, so that a misspelt value
fails, but where such a line opens it.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHARTS = Path(__file__).parents[1] / "charts"
SCHEMA, README = "values.schema.json", "README.md"
# Helm adds these to what a chart is given.
HELM = {"global": {"type": "object"}, "beacon-lib": {"type": "object"}}
TYPES = {"str": "string", "bool": "boolean", "int": "integer", "float": "number", "seq": "array", "null": "null"}


class Value(NamedTuple):
    """One key of values.yaml: its path, description and default, and the schema that was written for it, if any."""

    path: tuple[str, ...]
    description: str
    node: yaml.Node
    schema: dict[str, Any] | None


def charts() -> list[Path]:
    """The charts that are installed, all but the library; one that others are parts of comes after them."""
    found = [file.parent for file in sorted(CHARTS.glob("*/Chart.yaml"), key=_dependencies)]
    return [folder for folder in found if (folder / "values.yaml").is_file()]


def _dependencies(file: Path) -> tuple[int, str]:
    chart = yaml.safe_load(file.read_text(encoding="utf-8"))
    return len(chart.get("dependencies", [])), chart["name"]


def read(file: Path) -> list[Value]:
    """Every key with a default, in order, and the keys of each map that has no schema of its own."""
    text = file.read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise SystemExit(f"{file}: is no map")
    return list(_values(root, file.parent, text.splitlines(), ()))


def _values(node: yaml.MappingNode, folder: Path, lines: list[str], path: tuple[str, ...]) -> Iterator[Value]:
    for key, child in node.value:
        description, schema = _comment(folder, lines, key.start_mark.line)
        here = (*path, key.value)
        yield Value(here, description, child, schema)
        if isinstance(child, yaml.MappingNode) and schema is None:
            yield from _values(child, folder, lines, here)


def _comment(folder: Path, lines: list[str], line: int) -> tuple[str, dict[str, Any] | None]:
    comment: list[str] = []
    schema = None
    for above in reversed(lines[:line]):
        text = above.strip()
        if not text.startswith("#"):
            break
        text = text.removeprefix("#").strip()
        if text.startswith("schema:"):
            given = text.removeprefix("schema:").strip()
            schema = json.loads(given if given.startswith("{") else (folder / given).read_text(encoding="utf-8"))
        else:
            comment.insert(0, text)
    return " ".join(comment), schema


def schema_of(values: list[Value]) -> dict[str, Any]:
    """The closed JSON schema of a chart's values."""
    root: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": dict(HELM)}
    for value in values:
        place = root
        for name in value.path[:-1]:
            place = place["properties"][name]
        place["properties"][value.path[-1]] = _schema(value)
    return {"$schema": "http://json-schema.org/draft-07/schema#"} | root


def _schema(value: Value) -> dict[str, Any]:
    description = {"description": value.description} if value.description else {}
    if value.schema is not None:
        return description | value.schema
    if isinstance(value.node, yaml.MappingNode):
        return description | {"type": "object", "additionalProperties": False, "properties": {}}
    return description | {"type": TYPES[value.node.tag.rpartition(":")[2]]}


def table_of(folder: Path, values: list[Value]) -> str:
    """The chart's README: its values as a table."""
    chart = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
    lines = [f"# {chart['name']}", "", f"{chart['description']}.", ""]
    lines += ["Made from values.yaml by `make charts`.", "", "| value | default | meaning |", "| --- | --- | --- |"]
    for value in values:
        if isinstance(value.node, yaml.MappingNode) and value.schema is None:
            continue
        default = json.dumps(yaml.safe_load(yaml.serialize(value.node)))
        lines.append(f"| `{'.'.join(value.path)}` | `{default}` | {_description(value, values)} |")
    return "\n".join(lines) + "\n"


def _description(value: Value, values: list[Value]) -> str:
    """The description of a value, after those of the maps that hold it."""
    holders = [other for other in values if other.path == value.path[: len(other.path)]]
    return " ".join(other.description for other in holders if other.description)


def files_of(folder: Path) -> dict[Path, str]:
    """What the files that are made from a chart's values should hold."""
    values = read(folder / "values.yaml")
    schema = json.dumps(schema_of(values), indent=2) + "\n"
    return {folder / SCHEMA: schema, folder / README: table_of(folder, values)}


def main() -> int:
    """Write the files of every chart."""
    for folder in charts():
        for file, text in files_of(folder).items():
            file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
