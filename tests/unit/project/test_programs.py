"""Programs that make starts find what they import."""

import re

from beacon_core.platform.settings import ROOT


def test_a_tool_that_needs_another_is_started_as_a_module() -> None:
    """Started as a file, a tool sees its own folder alone, and not the package `tools`."""
    started = set(re.findall(r"python (tools/\w+\.py)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    assert started
    wrong = {name for name in started if "from tools" in (ROOT / name).read_text(encoding="utf-8")}
    assert wrong == set()
