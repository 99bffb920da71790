"""The shell commands of README, tutorials and how-to guides: each indented block of code is commands, one per line."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

from beacon_core.platform.settings import PREFIX, ROOT

PROGRAMS = {
    *("make", "curl", "beacon", "uv", "kubectl", "helm", "kind", "psql", "skaffold", "jq", "export", "for", "pip"),
    *(".ci/run", "HELM_DRIVER=configmap"),
}
BLOCK = re.compile(r"(?:^> (Needs [^\n]+)\n\n|(?<=\n\n))((?: {4}[^\n]*\n)+)", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```[^\n]*$", re.MULTILINE | re.DOTALL)
PORTS = {8080: "INFERENCE", 8090: "CONSOLE", 6566: "FEATURES", 5000: "MLFLOW"}


class Command(NamedTuple):
    """A command as the page has it, and what the page says that it needs, where no machine has it."""

    page: str
    text: str
    needs: str


def pages() -> list[Path]:
    """The pages whose commands people type."""
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/tutorials/*.md")), *sorted(ROOT.glob("docs/how-to/*.md"))]


def bare(line: str) -> str:
    """A line without its comment."""
    for match in re.finditer(r"\s+# ", line):
        before = line[: match.start()]
        if before.count("'") % 2 == before.count('"') % 2 == 0:
            return before
    return line


def commands_in(text: str, page: str) -> list[Command]:
    """The commands of a page; ValueError for an indented block that begins with no known program."""
    found = []
    for match in BLOCK.finditer(FENCED.sub("", text)):
        lines: list[str] = []
        for line in match[2].rstrip("\n").split("\n"):
            words = line[4:].split()
            if line[4:5] != " " and words and words[0] in PROGRAMS:
                lines.append(line[4:])
            elif lines:
                lines[-1] += f"\n{line[4:]}"
            else:
                raise ValueError(f"{page}: {line.strip()}: an indented block is shell; fence it with its language")
        found += [Command(page, "\n".join(map(bare, text.split("\n"))), match[1] or "") for text in lines]
    return found


def commands(page: Path) -> list[Command]:
    """The commands of a page of this checkout."""
    return commands_in(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))


def typed(
    command: Command, cwd: Path, environment: dict[str, str], ports: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """The command as a person would run it, on the ports of a run."""
    words = here(command.text, ports)
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def exported(command: Command, cwd: Path, environment: dict[str, str]) -> dict[str, str]:
    """The variable that an `export` of a page sets, as the shell of a person would have it."""
    name = command.text.split()[1].partition("=")[0]
    done = subprocess.run(
        ["bash", "-c", f'{command.text}; printf %s "${name}"'],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name: done.stdout}


def here(command: str, ports: dict[str, str]) -> list[str]:
    """The command's words, with the ports of a run (variables of settings) in place of the usual ones."""
    for usual, name in PORTS.items():
        command = command.replace(f":{usual}/", f":{ports.get(f'{PREFIX}{name}_PORT', usual)}/")
    return shlex.split(command)
