"""Write the table of modules in each service's README from their docstrings: `python -m tools.module_maps`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- modules: written by `python -m tools.module_maps` -->", "<!-- end of modules -->"
PART = re.compile(rf"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
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
            yield name, text.partition("\n")[0].replace("|", "\\|")


def current(package: Path, readme: str) -> str:
    """The README as it should be; `ValueError` where it has no place for the table."""
    rows = "".join(f"| `{name}` | {text} |\n" for name, text in modules(package))
    if not PART.search(readme):
        raise ValueError(f"the README of {package.name} has no part that begins with {BEGIN}")
    table = f"{BEGIN}\n| module | what is in it |\n| --- | --- |\n{rows}{END}\n"
    return PART.sub(lambda _: table, readme)


if __name__ == "__main__":
    for folder, file in services():
        file.write_text(current(folder, file.read_text(encoding="utf-8")), encoding="utf-8")
