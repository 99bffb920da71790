"""Hold what people read to the glossary's words and to one sentence per line: `python -m tools.prose`."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GLOSSARY = Path("docs/reference/glossary.md")
AVOID = "## Words to avoid"
ROW = re.compile(r"^\| (?!avoid |---)([^|]+) \| ([^|]+) \|$", re.MULTILINE)
GAP = r"(?:[ \t]|\n(?!\n))+"
CODE = re.compile(r"^(?: {4}|\t)[^\n]*$|^```.*?^```|`[^`\n]*`|\]\([^)\n]*\)", re.MULTILINE | re.DOTALL)

# "one row a run" is a pattern, not a phrase: a count, a thing, and what it is counted per.
COUNTED = "request|run|service|process|prediction|pod|step|stage|model|version|page|row"
LINK = r"(?:of|to|in|for|on|by|is|with|from|belongs|that|and|or)\b"
THING = "image|environment|report|row|line|chart|folder|profile|span|worker|spool"
PER = re.compile(
    rf"\b(?:one{GAP}(?:(?!{LINK})\w+{GAP}){{1,2}}a|(?:an?|each){GAP}(?:{THING}){GAP}a){GAP}(?:{COUNTED})\b",
    re.IGNORECASE,
)

# A sentence ends at a mark before a capital, a figure, code, a link or a quotation; "e.g. Feast" and "0.66" end none.
CLOSERS = r"[)\]\"'*_\u201d]*"
NO_END = r"(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\betc)(?<!\bvs)(?<!\bNo)"
NEXT = re.compile(rf"{NO_END}[.!?]{CLOSERS}[ \t]+(?=[(\[\"'*_\u201c]*[A-Z0-9`])")
RUN_IN = re.compile(r"^\*\*[^*]+[.!?]\*\* ")
LAST = re.compile(rf"[.!?:]{CLOSERS}$|\|$")
ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.) ")
NO_PROSE = re.compile(r"^(?: {4}|\t|#|\||>|<|!\[)")
FENCED = re.compile(r"^```.*?^```[^\n]*$|<!--.*?-->", re.MULTILINE | re.DOTALL)


def vocabulary(glossary: str) -> list[tuple[re.Pattern[str], str]]:
    """Each phrase of the glossary's table as a pattern, with what to write instead."""
    found = []
    for phrases, instead in ROW.findall(glossary.partition(AVOID)[2]):
        for phrase in phrases.split(", "):
            pattern = GAP.join(re.escape(word) for word in phrase.split())
            found.append((re.compile(rf"(?<![\w`]){pattern}(?!\w)", re.IGNORECASE), instead))
    return found


def prose(text: str) -> str:
    """The text with its code, links and code blocks as blanks, so that places stay."""
    return CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def complaints(text: str, words: list[tuple[re.Pattern[str], str]]) -> Iterator[tuple[int, str]]:
    """Line and complaint, for each word to avoid."""
    read = prose(text)
    for pattern, instead in [*words, (PER, "per")]:
        for match in pattern.finditer(read):
            phrase = " ".join(match[0].split())
            yield read.count("\n", 0, match.start()) + 1, f'"{phrase}": write {instead}'


def paragraphs(text: str) -> Iterator[list[tuple[int, str]]]:
    """The lines of each paragraph with their numbers; headings, lists, tables, pictures and code are none."""
    rest = FENCED.sub(lambda match: re.sub(r"[^\n]", "", match[0]), text)
    lines: list[tuple[int, str]] = []
    listed = False
    for number, line in enumerate([*rest.split("\n"), ""], start=1):
        listed = bool(line.strip()) and (listed or ITEM.match(line) is not None)
        if line.strip() and not listed and not NO_PROSE.match(line):
            lines.append((number, re.sub(r"`[^`]*`", lambda match: "`" + "c" * (len(match[0]) - 1), line)))
        elif lines:
            yield lines
            lines = []


def unbroken(text: str) -> Iterator[tuple[int, str]]:
    """Line and complaint, where a line of a paragraph holds two sentences or breaks one."""
    for lines in paragraphs(text):
        for at, (number, line) in enumerate(lines):
            if NEXT.search(RUN_IN.sub("", line)):
                yield number, "two sentences: write one per line"
            elif at + 1 < len(lines) and not LAST.search(line.rstrip()):
                yield number, "a sentence goes on in the next line: write it on one"


def texts(root: Path) -> Iterator[tuple[Path, str]]:
    """What people read, by its path; of the change log what is not released, of the glossary its terms."""
    services = sorted(root.glob("services/*/README.md"))
    for file in [root / "README.md", *sorted((root / "docs").rglob("*.md")), *services, root / "CHANGELOG.md"]:
        text = file.read_text(encoding="utf-8")
        path = file.relative_to(root)
        if path == GLOSSARY:
            text = text.partition(AVOID)[0]
        if path.name == "CHANGELOG.md":
            text = "".join(re.split(r"^(?=## )", text, flags=re.MULTILINE)[:2])
        yield path, text


def pages(root: Path) -> Iterator[tuple[Path, str]]:
    """The pages with one sentence per line, by their paths: README.md, SECURITY.md and docs, but not the decisions."""
    documents = (file for file in sorted((root / "docs").rglob("*.md")) if file.parent.name != "decisions")
    for file in [root / "README.md", root / "SECURITY.md", *documents]:
        yield file.relative_to(root), file.read_text(encoding="utf-8")


def main() -> int:
    """Print every complaint; 1 where there is any."""
    words = vocabulary((ROOT / GLOSSARY).read_text(encoding="utf-8"))
    found = [f"{path}:{line}: {why}" for path, text in texts(ROOT) for line, why in sorted(complaints(text, words))]
    found += [f"{path}:{line}: {why}" for path, text in pages(ROOT) for line, why in unbroken(text)]
    print("\n".join([*found, f"{len(found)} places to mend ({GLOSSARY})"] if found else ["prose: nothing to mend"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
