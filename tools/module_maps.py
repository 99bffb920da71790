"""Write the table of modules in each service's README from their docstrings: `python -m tools.module_maps`."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tools.generated import Part, table

ROOT = Path(__file__).parents[1]
PART = Part("modules", "module_maps")
LEFT_OUT = {"migrations"}


def services() -> Iterator[tuple[Path, Path]]:
    """The package and the README of each service."""
    for package in sorted(ROOT.glob("services/*/beacon_*")):
        yield package, package.parent / "README.md"


def modules(package: Path) -> Iterator[tuple[str, str]]:
    """Each room and module, with the first line of its docstring; a room before what is in it."""
    files = [file for file in package.rglob("*.py") if not LEFT_OUT & set(file.relative_to(package).parts)]
    names = {file: file.relative_to(package).as_posix() for file in files}
    for file in sorted(files, key=lambda file: ("/" in names[file], names[file].removesuffix("__init__.py"))):
        name = names[file].removesuffix("__init__.py")
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        if name:
            yield name, text.partition("\n")[0]


def current(package: Path, readme: str) -> str:
    """The README as it should be; `ValueError` where it has no place for the table."""
    rows = [(f"`{name}`", text) for name, text in modules(package)]
    return PART.put(readme, table(("module", "what is in it"), rows))


if __name__ == "__main__":
    for folder, file in services():
        file.write_text(current(folder, file.read_text(encoding="utf-8")), encoding="utf-8")
