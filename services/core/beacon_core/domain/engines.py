"""The engines of the jobs that read the log, by the names that the setting `BEACON_ENGINE` has for them."""

from typing import Literal

from beacon_core.domain.log_stores import ReadStore

EngineName = Literal["local", "spark"]


def problem_of(engine: EngineName, read: ReadStore) -> str:
    """Which other settings an engine cannot work with, and the rule; empty where there is none."""
    if engine == "local" or read == "lake":
        return ""
    rule = "BEACON_LOG_STORES must begin with lake (lake, or lake,sql), or BEACON_LOG_READ be lake"
    return f"BEACON_ENGINE is {engine}, which reads the log in the lake: {rule}"
