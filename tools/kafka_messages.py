"""Write the table of docs/reference/kafka-messages.md from the message's fields: `python -m tools.kafka_messages`."""

import ast
from pathlib import Path

import msgspec

from beacon_core.domain import log_message
from tools.field_docstrings import field_docstrings
from tools.generated import Part, table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "kafka-messages.md"
PART = Part("fields", "kafka_messages")
TYPES = {
    int: "whole number",
    float: "number",
    str: "text",
    dict[str, float]: "object: name to number",
    dict[str, str]: "object: name to text",
    dict[str, bool]: "object: name to true or false",
    list[str]: "list of texts",
    str | None: "text",
    float | None: "number",
    list[str] | None: "list of texts",
}


def current(page: str) -> str:
    """The page as it should be."""
    source = Path(log_message.__file__).read_text(encoding="utf-8")
    (body,) = [node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    texts = field_docstrings(body)
    rows = [
        (f"`{field.name}`", TYPES[field.type], "always" if field.required else "", texts[field.name] or "")
        for field in msgspec.structs.fields(log_message.LogMessage)
    ]
    return PART.put(page, table(("field", "type of JSON", "is there", "meaning"), rows))


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
