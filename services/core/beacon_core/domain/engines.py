"""The engines of the jobs that read the log, by the names that the setting `BEACON_ENGINE` has for them."""

from typing import Literal

from beacon_core.domain.log_stores import ReadStore

EngineName = Literal["local", "spark"]


def problem_of(engine: EngineName, read: ReadStore, shards: int) -> str:
    """Which other settings an engine cannot work with, and the rule; empty where there is none."""
    if engine == "local":
        return ""
    if read != "lake":
        rule = "BEACON_LOG_STORES must begin with lake (lake, or lake,sql), or BEACON_LOG_READ be lake"
        return f"BEACON_ENGINE is {engine}, which reads the log in the lake: {rule}"
    if shards != 1:
        return f"BEACON_DRIFT_SHARDS must be 1 where BEACON_ENGINE is {engine}, which shares the work out itself"
    return ""
