"""Runs a job or a command as a process: its logs, its trace and its exit status.

    if __name__ == "__main__":
        sys.exit(run_job("drift", main))

`main` returns the exit status, logs what it does by `log`, and puts `job_runs.recorded` around each of its stages.
`run_command` does the same for a program whose answer is what it prints.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import wraps

from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN
from beacon_core.domain.ids import new_id
from beacon_core.domain.masking import message_of
from beacon_core.observability import logs
from beacon_core.observability.trace_context import Trace, outgoing_headers, read_trace
from beacon_core.observability.trace_settings import is_traced
from beacon_core.observability.tracing import open_tracer
from beacon_core.platform import progress, results
from beacon_core.platform.locks import BusyError
from beacon_core.platform.settings import Settings, clean_credentials, load_settings

log = logging.getLogger("beacon.job")
Main = Callable[[], int]
STACK = "BEACON_LOG_FORMAT=json shows where"

EXIT_STATUS_OF = {
    "builtins.OSError": TRY_AGAIN,
    "sqlalchemy.exc.SQLAlchemyError": TRY_AGAIN,
    "redis.exceptions.RedisError": TRY_AGAIN,
    "feast.errors.FeastError": REFUSED,
    "sqlite3.OperationalError": TRY_AGAIN,
    "sqlite3.Error": REFUSED,
    "google.protobuf.message.DecodeError": REFUSED,
}
"""The exit statuses of libraries' errors, by name, so that no job imports a library only for its errors."""


def run_job(name: str, main: Callable[[], int]) -> int:
    """Run `main` once and return its exit status. An uncaught error is logged with its stack, and the status is 1."""
    began = time.monotonic()
    trace = incoming_trace()
    logs.trace_id.set(trace.trace_id)
    logs.configure_job_logging(name, Settings().build_version, "INFO")
    status = REFUSED
    try:
        clean_credentials()
        settings = load_settings()
        logs.configure_job_logging(name, settings.build_version, settings.log_level, settings.log_format)
        progress.enable(wanted=settings.progress)
        if results.is_json():
            log.addHandler(_Notes())
        status = _run_traced(name, settings, trace, main)
    except ConfigurationError as error:
        log.error("%s", message_of(error))
        results.fail(message_of(error), status)
    except Exception as error:  # noqa: BLE001 - it is logged, with its stack
        _log_bug(error)
    seconds = round(time.monotonic() - began, 3)
    logs.steps.log(logging.ERROR if status else logging.INFO, "job ended", extra={"status": status, "seconds": seconds})
    results.finish(status)
    return status


class _Notes(logging.Handler):
    """Keeps a job's messages for its result in JSON."""

    def emit(self, record: logging.LogRecord) -> None:
        results.note(record.getMessage())


def _log_bug(error: Exception) -> None:
    """Log a fault of Beacon itself: its stack for machines, one line for a person."""
    results.fail(f"a fault of Beacon: {type(error).__name__}: {message_of(error)}", REFUSED)
    if logs.steps.disabled:
        log.error("a fault of Beacon: %s: %s. %s", type(error).__name__, message_of(error), STACK)
    else:
        log.exception("unexpected error")


def run_command(name: str, main: Callable[[Settings], int]) -> int:
    """Run a command and return its exit status. An expected error is one line on stderr, a bug its stack."""
    logs.configure_job_logging(name, Settings().build_version, "WARNING")
    status = REFUSED
    try:
        clean_credentials()
        settings = load_settings()
        logs.configure_job_logging(name, settings.build_version, "WARNING", settings.log_format)
        progress.log.setLevel("INFO")
        progress.enable(wanted=settings.progress)
        status = main(settings)
    except Exception as error:  # noqa: BLE001 - one that nobody expects is logged, with its stack
        if (known := status_of(error)) is None:
            _log_bug(error)
        else:
            status = known
            report_error(name, error)
            results.fail(message_of(error), status)
    results.finish(status)
    return status


def status_of(error: BaseException) -> int | None:
    """The exit status for an error; None for an unexpected one, which is a bug."""
    if (own := getattr(error, "exit_status", None)) is not None:
        return int(own)
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((EXIT_STATUS_OF[name] for name in names if name in EXIT_STATUS_OF), None)


def map_errors(refused: str, again: str, busy: str = "", *, level: int = logging.ERROR) -> Callable[[Main], Main]:
    """Map the errors of a job to its exit status, each logged in one line without a stack.

    The line begins with `refused`, with `again` (at `level`) where a retry may help, and with `busy` where another run
    holds the lock. `run_job` handles unexpected errors.
    """

    def decorate(main: Main) -> Main:
        @wraps(main)
        def run() -> int:
            try:
                return main()
            except BusyError as error:
                log.warning("%s: %s", busy or again, message_of(error))
                results.fail(f"{busy or again}: {message_of(error)}", error.exit_status)
                return error.exit_status
            except Exception as error:
                if (status := status_of(error)) is None:
                    raise
                helps = status == TRY_AGAIN
                log.log(level if helps else logging.ERROR, "%s: %s", again if helps else refused, message_of(error))
                results.fail(f"{again if helps else refused}: {message_of(error)}", status)
                return status

        return run

    return decorate


def report_error(name: str, error: BaseException) -> None:
    """Write the error of the command `name` to stderr, in one line."""
    sys.stderr.write(f"{name}: {message_of(error)}\n")


def incoming_trace(environment: Mapping[str, str] = os.environ) -> Trace:
    """The trace of the parent process, from OpenTelemetry's variable TRACEPARENT; else a new one."""
    given = {name: environment.get(name.upper(), "") for name in ("traceparent", "tracestate")}
    return read_trace([(name.encode(), text.encode("latin-1", "replace")) for name, text in given.items() if text])


def trace_environment() -> dict[str, str]:
    """The variables by which a child process joins this trace, below the current span."""
    trace = Trace(logs.trace_id.get() or new_id())
    if is_traced():
        from opentelemetry.trace import get_current_span  # noqa: PLC0415 - only where spans are made

        from beacon_core.observability.spans import trace_of  # noqa: PLC0415

        current = get_current_span()
        trace = trace_of(current) if current.get_span_context().is_valid else trace
    return {name.upper(): text for name, text in outgoing_headers(trace, trace.parent_id).items()}


def _run_traced(name: str, settings: Settings, trace: Trace, main: Callable[[], int]) -> int:
    tracer = open_tracer(name, settings.build_version)
    if tracer is None:
        return main()
    from opentelemetry.trace import SpanKind, StatusCode, set_tracer_provider, use_span  # noqa: PLC0415

    from beacon_core.observability.spans import recording_failures  # noqa: PLC0415

    set_tracer_provider(tracer.provider)
    try:
        begun = tracer.begin(name, trace, SpanKind.INTERNAL)
        with (
            use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False) as span,
            recording_failures(span),
        ):
            status = main()
            span.set_attribute("process.exit.code", status)
            if status:
                span.set_status(StatusCode.ERROR)
    finally:
        tracer.close()
    return status
