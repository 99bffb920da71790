"""Write docs/reference/api.md from inference's OpenAPI document: `python -m tools.api_page`.

The examples are of the tests' product: what lies in feature_repo may be any product's.
"""

import json
from pathlib import Path
from typing import Any

from beacon_core.domain.error_codes import CODES
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_inference.openapi import openapi
from tools.generated import Part, table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "api.md"
PART = Part("routes", "api_page")
PRODUCT = ROOT / "tests" / "products" / "boston" / "product.yaml"
WIDTH = 110
"""Characters of JSON on one line; what is longer is indented."""
VERSION = "/versions/{version}"
Json = dict[str, Any]


def shown(value: Any) -> str:
    """An example as a block of code."""
    if isinstance(value, str):
        return f"``` text\n{value.rstrip()}\n```\n"
    return f"``` json\n{fitted(value)}\n```\n"


def fitted(value: Any, indent: int = 0) -> str:
    """JSON with as much on each line as fits it."""
    line = json.dumps(value, ensure_ascii=False)
    if indent + len(line) <= WIDTH or not isinstance(value, (dict, list)):
        return line
    head, tail = ("{", "}") if isinstance(value, dict) else ("[", "]")
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {fitted(item, indent + 2)}" for key, item in value.items()]
    else:
        items = [fitted(item, indent + 2) for item in value]
    lines: list[str] = []
    for item in items:
        joined = f"{lines[-1]}, {item}" if lines else item
        if lines and "\n" not in joined and indent + 2 + len(joined) < WIDTH:
            lines[-1] = joined
        else:
            lines.append(item)
    blank = "\n" + " " * (indent + 2)
    return f"{head}{blank}{f',{blank}'.join(lines)}\n{' ' * indent}{tail}"


def answers(operation: Json, name: str) -> list[str]:
    """The answers to the example of a request, each below its status."""
    return [
        f"answers {status}:\n\n{shown(content['examples'][name]['value'])}"
        for status, response in operation["responses"].items()
        for content in response["content"].values()
        if name in content.get("examples", {})
    ]


def replies(operation: Json) -> list[str]:
    """The examples of the answers of a route without a body."""
    content = operation["responses"]["200"]["content"]
    shown_answers = [each["value"] for kind in content.values() for each in kind.get("examples", {}).values()]
    return [f"answers 200:\n\n{shown(value)}" for value in shown_answers]


def requests(operation: Json) -> list[str]:
    """Every example with its answer."""
    parts: list[str] = []
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        for name, example in content.get("examples", {}).items():
            summary = example["summary"][0].upper() + example["summary"][1:]
            with_kind = "" if kind == "application/json" else f" (`{kind}`)"
            parts += [f"**{summary}**{with_kind}\n\n{shown(example['value'])}", *answers(operation, name)]
    return parts


def codes(operation: Json) -> str:
    """The codes of a route's errors."""
    told = " ".join(each["description"] for each in operation["responses"].values())
    named = [f"`{code}`" for code in CODES if f"`{code}`" in told]
    return f"Errors: {', '.join(named)}.\n" if named else ""


def sentence(text: str) -> str:
    """A summary as a line of prose."""
    return f"{text}\n" if text.endswith(("?", ".")) else f"{text}.\n"


def section(method: str, path: str, operation: Json) -> str:
    """One route."""
    parts = [f"### {method.upper()} {path}\n", sentence(operation["summary"])]
    if "description" in operation:
        parts.append("\n".join(operation["description"].replace(". ", ".\n").splitlines()) + "\n")
    given = [(f"`{each['name']}`", each["in"], each["description"]) for each in operation["parameters"]]
    if given:
        parts.append(table(("parameter", "in", "meaning"), given))
    if VERSION in path:
        parts.append("Its requests and answers are those of the route without a version.\n")
    else:
        parts += requests(operation) if "requestBody" in operation else replies(operation)
    parts.append(codes(operation))
    return "\n".join(part for part in parts if part)


def routes() -> str:
    """The routes of inference, by tag."""
    document = openapi(load_product(PRODUCT), Settings())
    parts = []
    for tag in document["tags"]:
        name = tag["name"]
        parts.append(f"## {name[0].upper() + name[1:]}\n\n{tag['description']}\n")
        for path, operations in document["paths"].items():
            parts += [section(method, path, each) for method, each in operations.items() if name in each["tags"]]
    return "\n".join(parts)


def current(page: str) -> str:
    """The page as it should be."""
    return PART.put(page, f"\n{routes()}\n")


if __name__ == "__main__":
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
