"""Build the documentation site into site/, or serve it: `python -m tools.docs_site [serve]`.

The pages are docs/. Links from them to other files of the checkout work on the site, too: each such file is a page.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
STAGE = ROOT / ".tools" / "docs-site"
SITE = ROOT / "site"
SOURCE = "source"
"""The folder of the site with the pages that are files of the checkout outside docs."""
# Code, where what looks like a link is none; or a link, with its address.
LINK = re.compile(
    r"^```.*?^```|(?<=\n\n)(?: {4}|\t)[^\n]*(?:\n(?: {4}|\t)[^\n]*)*|`[^`\n]*`|(\]\()([^)\s]+)(?=\))",
    re.MULTILINE | re.DOTALL,
)
ELSEWHERE = re.compile(r"[a-z]+:|#|\$|//")
ITEM = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(?:#[^)]*)?\)")
HEADING = re.compile(r"^## ([\w-]+)", re.MULTILINE)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json", ".sh": "bash"}
NOTEBOOK = ".ipynb"
LARGEST = 200_000
"""Bytes of a file that is shown as a page; a larger one is linked as it is."""
NO_SEARCH = "---\nsearch:\n  exclude: true\n---\n\n"
Pages = dict[str, str | Path]
"""What the site is built from: each page's text, or the file that is copied, by its path there."""


def page_of(path: PurePosixPath, root: Path = ROOT) -> str:
    """Where a file or folder of the checkout is on the site, as a path of its Markdown or of the file itself."""
    file = root / path
    inside = path.relative_to("docs") if path.is_relative_to("docs") else SOURCE / path
    if file.is_dir():
        inside = inside / ("README.md" if (file / "README.md").is_file() else "index.md")
    elif file.suffix == NOTEBOOK or (
        file.suffix != ".md" and not path.is_relative_to("docs") and file.stat().st_size <= LARGEST
    ):
        inside = inside.with_name(f"{inside.name}.md")
    return str(inside)


def linked(text: str, at: PurePosixPath, found: Callable[[PurePosixPath], object], root: Path = ROOT) -> str:
    """The text of the file `at`, its links as they are on the site; tells each target by its path in the checkout."""
    folder = PurePosixPath(page_of(at, root)).parent

    def there(match: re.Match[str]) -> str:
        if match[2] is None or ELSEWHERE.match(match[2]):
            return match[0]
        address, hash_sign, anchor = match[2].partition("#")
        target = PurePosixPath(os.path.normpath(at.parent / address))
        if target.parts[0] == ".." or not (root / target).exists():
            raise FileNotFoundError(f"{at}: a link leads nowhere: {match[2]}")
        found(target)
        code = not target.is_relative_to("docs") and target.suffix != ".md"
        page = os.path.relpath(page_of(target, root), folder)
        return f"{match[1]}{page}{'' if code else hash_sign + anchor}"

    return LINK.sub(there, text)


def listing(folder: PurePosixPath, root: Path = ROOT) -> str:
    """A page for a folder without one of its own: its files, each with a link where it has a page in docs."""
    names = sorted(file.name for file in (root / folder).iterdir() if not file.name.startswith((".", "__")))
    of_docs = folder.is_relative_to("docs")
    rows = [f"- [{name.removesuffix('.md')}]({name})" if of_docs else f"- `{name}`" for name in names]
    head = folder.name.capitalize() if of_docs else f"`{folder}/`"
    return "\n".join([f"# {head}", "", *rows, ""])


def shown(path: PurePosixPath, root: Path = ROOT) -> str:
    """A page that shows a file of the checkout."""
    text = (root / path).read_text(encoding="utf-8")
    language = LANGUAGES.get(path.suffix, "text")
    return f"{NO_SEARCH}# {path.name}\n\n`{path}`\n\n`````` {language}\n{text.rstrip()}\n``````\n"


def notebook(path: PurePosixPath, root: Path = ROOT) -> str:
    """A page that shows the cells of a notebook, and where its file is."""
    cells = json.loads((root / path).read_text(encoding="utf-8"))["cells"]
    texts = [("".join(cell["source"]), cell["cell_type"]) for cell in cells]
    parts = [text if kind == "markdown" else f"``` python\n{text}\n```" for text, kind in texts]
    return "\n\n".join([*parts, f"The notebook is the file `{path}`.\n"])


def pages(root: Path = ROOT) -> Pages:
    """All of docs, and every file of the checkout that a page names, and what those name in turn."""
    made: Pages = {}
    waiting = [PurePosixPath(file.relative_to(root)) for file in sorted((root / "docs").rglob("*")) if file.is_file()]
    while waiting:
        path = waiting.pop()
        page, file = page_of(path, root), root / path
        if page in made:
            continue
        if file.is_dir() and page.endswith("index.md"):
            made[page] = linked(listing(path, root), path / "index.md", waiting.append, root)
        elif file.is_dir():
            waiting.append(path / "README.md")
        elif path.suffix == ".md":
            made[page] = linked(file.read_text(encoding="utf-8"), path, waiting.append, root)
        elif path.suffix == NOTEBOOK:
            made[page] = notebook(path, root)
        elif page.endswith(".md"):
            made[page] = shown(path, root)
        else:
            made[page] = file
    return made


def titled(page: str) -> str:
    """The title of a page."""
    match = re.search(r"^# (.*)$", page, re.MULTILINE)
    return match[1] if match else ""


def navigation(made: Pages) -> list[dict[str, object]]:
    """The parts of docs/README.md with the pages that each lists, then the decisions and the runbooks."""
    index = str(made["README.md"])
    parts: list[dict[str, object]] = [{"Home": "README.md"}]
    for head, text in zip(HEADING.findall(index), HEADING.split(index)[2::2], strict=True):
        items: list[dict[str, object]] = []
        for title, page in ITEM.findall(text):
            if page.startswith(f"{head.lower()}/") and page in made:
                items.append({title[0].upper() + title[1:]: page})
        parts.append({head: items})
    for folder, name in (("decisions", "Decisions"), ("runbooks", "Runbooks")):
        of_folder = sorted(page for page in made if page.startswith(f"{folder}/") and page.endswith(".md"))
        first = [page for page in of_folder if page.endswith(("README.md", "index.md"))]
        rest = [page for page in of_folder if page not in first]
        parts.append({name: [*first, *({titled(str(made[page])): page} for page in rest)]})
    return parts


def toml(value: object) -> str:
    """Lists, dictionaries and strings as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {toml(item)}' for key, item in value.items())}}}"
    return json.dumps(value)


def stage(folder: Path = STAGE, root: Path = ROOT) -> Path:
    """Write what the site is built from, where it changed; the configuration's file."""
    made = pages(root)
    documents = folder / "docs"
    for old in sorted(documents.rglob("*"), reverse=True):
        if old.is_file() and str(PurePosixPath(old.relative_to(documents))) not in made:
            old.unlink()
    for name, content in made.items():
        _write(documents / name, content.read_bytes() if isinstance(content, Path) else content.encode())
    settings = (root / "zensical.toml").read_text(encoding="utf-8")
    settings = settings.replace("[project]\n", f"[project]\nnav = {toml(navigation(made))}\n", 1)
    _write(folder / "zensical.toml", settings.encode())
    return folder / "zensical.toml"


def _write(file: Path, content: bytes) -> None:
    if not file.is_file() or file.read_bytes() != content:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def build(folder: Path = STAGE, root: Path = ROOT, site: Path = SITE) -> int:
    """Build the site; a warning is an error."""
    config = stage(folder, root)
    shutil.rmtree(folder / "site", ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(config)]
    done = subprocess.run(command, check=False, cwd=folder).returncode  # noqa: S603 (a program of this environment)
    if done == 0:
        shutil.rmtree(site, ignore_errors=True)
        shutil.move(folder / "site", site)
    return done


def serve(address: str) -> int:
    """Serve the site until it is stopped, and anew whatever is edited."""
    config = stage()
    command = [sys.executable, "-m", "zensical", "serve", "--config-file", str(config), "--dev-addr", address]
    with subprocess.Popen(command, cwd=STAGE) as server:  # noqa: S603 (a program of this environment)
        try:
            while server.poll() is None:
                time.sleep(1)
                try:
                    stage()
                except OSError as error:
                    print(f"docs: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            server.terminate()
    return 0


def main() -> int:
    """Build, or serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("act", nargs="?", choices=("build", "serve"), default="build")
    parser.add_argument("--address", default="127.0.0.1:8000", help="where it is served")
    given = parser.parse_args()
    return serve(given.address) if given.act == "serve" else build()


if __name__ == "__main__":
    sys.exit(main())
