"""Refuse the words that the glossary says to avoid, in what people read: `python -m tools.prose`."""

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


def main() -> int:
    """Print every complaint; 1 where there is any."""
    words = vocabulary((ROOT / GLOSSARY).read_text(encoding="utf-8"))
    found = [f"{path}:{line}: {why}" for path, text in texts(ROOT) for line, why in sorted(complaints(text, words))]
    print("\n".join([*found, f"{len(found)} words to mend ({GLOSSARY})"] if found else ["prose: nothing to mend"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
