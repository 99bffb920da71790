"""OpenTelemetry's variables as Beacon reads them (docs/reference/traces.md), without its SDK.

A value that is not supported becomes a line of `problems` and never an error: telemetry must not stop predictions. A
value that may contain a credential is never quoted.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

import msgspec

from beacon_core.domain import addresses

OTLP, CONSOLE, NONE = "otlp", "console", "none"
PROTOCOL = "http/protobuf"
TRACE_CONTEXT = "tracecontext"
RATIO_SAMPLERS = ("traceidratio", "parentbased_traceidratio")
SAMPLERS = ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off", *RATIO_SAMPLERS)
USUAL_SAMPLER = "parentbased_always_on"
USUAL_SECONDS = 10.0
MOST_SECONDS = 600.0
HEADER = re.compile(r"\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=(.*)", re.DOTALL)

Environment = Mapping[str, str]
Report = Callable[[str], object]


class TraceSettings(msgspec.Struct, frozen=True):
    """How spans are made: their exporters (none: no spans), the timeout of an export, and the sampling."""

    exporters: tuple[str, ...]
    timeout_seconds: float
    sampler: str
    ratio: float
    problems: tuple[str, ...]
    """The settings that are not supported, one line each."""


def is_traced(environment: Environment = os.environ) -> bool:
    """Whether spans are made."""
    return bool(_exporters(environment, _quiet))


def propagates(environment: Environment = os.environ) -> bool:
    """Whether a caller's trace is continued and passed on. Called for each request."""
    given = environment.get("OTEL_PROPAGATORS")
    return not given or TRACE_CONTEXT in (names := _names(given)) or not names


def read_trace_settings(environment: Environment = os.environ) -> TraceSettings:
    """Read the settings of traces, and list those that are not supported."""
    problems: list[str] = []
    report = problems.append
    exporters = _exporters(environment, report)
    _check_propagators(environment, report)
    sampler, ratio = _sampler(environment, report if exporters else _quiet)
    seconds = _timeout(environment, report if OTLP in exporters else _quiet)
    return TraceSettings(exporters, seconds, sampler, ratio, tuple(problems))


def _quiet(_problem: str) -> None:
    """Report nothing: for callers that only need to know whether spans are made."""


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name for part in text.split(",") if (name := part.strip().lower())))


def _exporters(environment: Environment, report: Report) -> tuple[str, ...]:
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower()
    if disabled == "true":
        return ()
    if disabled not in {"", "false"}:
        report(f"OTEL_SDK_DISABLED: {disabled!r} is neither true nor false, and is ignored")
    name, address = _first(environment, "ENDPOINT")
    names = _names(environment.get("OTEL_TRACES_EXPORTER", ""))
    if not names:
        # OpenTelemetry's own default is a collector on this machine; Beacon's is none.
        names = [OTLP] if address else []
    for unknown in [each for each in names if each not in {OTLP, CONSOLE, NONE}]:
        report(f"OTEL_TRACES_EXPORTER: {unknown!r} is not supported and gets no traces; use otlp, console or none")
    if NONE in names:
        if len(names) > 1:
            report("OTEL_TRACES_EXPORTER: 'none' among others means none")
        return ()
    if OTLP in names:
        for problem in _otlp_problems(environment, name, address):
            report(f"{problem}; no traces are sent")
            names = [each for each in names if each != OTLP]
    return tuple(each for each in names if each in {OTLP, CONSOLE})


def _otlp_problems(environment: Environment, name: str, address: str) -> Iterator[str]:
    if address:
        try:
            addresses.http_url(address)
        except ValueError as error:
            yield f"{name}: {error}"
    name, protocol = _first(environment, "PROTOCOL")
    if protocol.strip().lower() not in {"", PROTOCOL}:
        yield f"{name}: {protocol!r} is not supported; use {PROTOCOL}"
    name, headers = _first(environment, "HEADERS")
    for number, header in enumerate(filter(None, headers.split(",")), start=1):
        match = HEADER.fullmatch(header)
        if header.strip() and (match is None or not _is_header(match[1])):
            yield f"{name}: number {number} is not NAME=VALUE as HTTP takes it (a value is percent-encoded)"
    for part in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"):
        name, file = _first(environment, part)
        if file and not Path(file).is_file():
            yield f"{name}: {file!r} is not a file"


def _is_header(text: str) -> bool:
    value = unquote(text).strip(" \t")
    return value.isascii() and all(sign.isprintable() or sign == "\t" for sign in value)


def _first(environment: Environment, part: str) -> tuple[str, str]:
    """Name and value of the variable for traces, else of the one for all signals."""
    name, other = f"OTEL_EXPORTER_OTLP_TRACES_{part}", f"OTEL_EXPORTER_OTLP_{part}"
    return (name, environment[name]) if environment.get(name) else (other, environment.get(other, ""))


def _check_propagators(environment: Environment, report: Report) -> None:
    names = _names(environment.get("OTEL_PROPAGATORS", ""))
    others = [name for name in names if name not in {TRACE_CONTEXT, NONE}]
    if others:
        rest = f"{TRACE_CONTEXT} is used" if propagates(environment) else "no trace is continued or passed on"
        report(f"OTEL_PROPAGATORS: {', '.join(map(repr, others))} not supported, only {TRACE_CONTEXT} is; {rest}")


def _sampler(environment: Environment, report: Report) -> tuple[str, float]:
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower() or USUAL_SAMPLER
    if sampler not in SAMPLERS:
        report(f"OTEL_TRACES_SAMPLER: {sampler!r} is not supported; {USUAL_SAMPLER} is used. Use {', '.join(SAMPLERS)}")
        return USUAL_SAMPLER, 1.0
    text = environment.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if sampler not in RATIO_SAMPLERS or not text:
        return sampler, 1.0
    ratio = _number(text)
    if not 0 <= ratio <= 1:
        report(f"OTEL_TRACES_SAMPLER_ARG: {text!r} is not a share from 0 to 1; all traces are kept")
        return sampler, 1.0
    return sampler, ratio


def _timeout(environment: Environment, report: Report) -> float:
    name, text = _first(environment, "TIMEOUT")
    if not text:
        return USUAL_SECONDS
    seconds = _number(text)
    if not 0 < seconds <= MOST_SECONDS:
        # OpenTelemetry for Python counts seconds where others count milliseconds.
        report(f"{name}: {text!r} is not a number of seconds up to {MOST_SECONDS:.0f}; {USUAL_SECONDS:.0f} are used")
        return USUAL_SECONDS
    return seconds


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
