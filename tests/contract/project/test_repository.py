"""The files by which a repository is kept name what there is."""

import json
import re
import tomllib

import yaml
from support.checkout import MAY_LACK
from support.settings import Settings

from beacon_core.platform.settings import ROOT

GITHUB = ROOT / ".github"
WAIVED = "# noqa: S"
REASON = re.compile(r"# noqa: S\d+ (?:- .{4,}|\(.{4,}\))$")


def test_every_image_and_lock_is_kept_up_to_date() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    kept = {
        (update["package-ecosystem"], file.relative_to(ROOT).as_posix())
        for update in updates
        for folder in update.get("directories", [update.get("directory")])
        for file in ROOT.glob(f"{folder.strip('/')}/*".lstrip("/"))
    }
    wanted = {("uv", "uv.lock")}
    for pattern in ("services/*/Dockerfile", "tests/*/Dockerfile"):
        wanted |= {("docker", file.relative_to(ROOT).as_posix()) for file in ROOT.glob(pattern)}
    assert len(wanted) > 6
    assert wanted - kept == set()


def test_owned_paths_are_there() -> None:
    lines = [line.split() for line in (GITHUB / "CODEOWNERS").read_text().splitlines()]
    patterns = [line[0] for line in lines if line and not line[0].startswith("#")]
    assert patterns[0] == "*"
    paths = {name.strip("/") for name in patterns[1:]} - MAY_LACK
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_container_for_development_is_the_makefiles_python_and_the_ports_of_the_settings() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    version = re.search(r"^PYTHON_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert version
    assert container["image"] == f"python:{version[1]}-bookworm"
    ports = Settings()
    wanted = {ports.inference_port, ports.console_port, ports.features_port, ports.mlflow_port}
    assert set(container["forwardPorts"]) == wanted == {int(port) for port in container["portsAttributes"]}


def test_a_commit_is_held_to_what_ci_lints() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert "make lint" in {hook["entry"] for hook in hooks}


def test_each_exception_to_a_rule_of_security_has_a_reason() -> None:
    """Ruff's rules S are bandit's: they hold for all that is installed, and a line says why it may do otherwise."""
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert not [rule for rule in lint["ignore"] if re.fullmatch(r"S\d*", rule)]
    without = {place.split("/")[0] for place, rules in lint["per-file-ignores"].items() if "S" in rules}
    assert without == {"tests", "benchmarks"}
    files = [file for folder in ("services", "jobs", "tools") for file in (ROOT / folder).rglob("*.py")]
    found = [(file, line) for file in files for line in file.read_text(encoding="utf-8").splitlines() if WAIVED in line]
    assert len(found) > 10
    assert [f"{file.name}: {line.strip()}" for file, line in found if not REASON.search(line)] == []
