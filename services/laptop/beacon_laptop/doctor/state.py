"""Checks of the state: its folder, the database, the online store, the model, MLflow, the clock and the product."""

import contextlib
import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import msgspec

from beacon_core.data.database import DatabaseUnavailableError, SchemaError, schema_state
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.masking import message_of
from beacon_core.domain.yaml_text import YamlError
from beacon_core.feature_store.variables import filled, redis_options, variables_of
from beacon_core.model_package.manifest import PackageError
from beacon_core.model_package.release import ReleaseError, package_folder, read_release
from beacon_core.model_package.signature import read_trusted, trust_of
from beacon_core.platform import clock
from beacon_core.platform.settings import ROOT, Settings
from beacon_core.platform.yaml_file import read_yaml
from beacon_laptop.doctor.findings import Finding
from beacon_laptop.health import is_ready
from beacon_laptop.processes import ENVIRONMENTS, MLFLOW, services

SKEW_SECONDS, BROKEN_SECONDS = 5.0, 60.0
ANSWER_SECONDS = 5.0
MOST_FILES = 3


def folder(home: Path) -> Iterator[Finding]:
    """Whether the state can be written to, all of it."""
    place = next(one for one in (home, *home.parents) if one.exists())
    mend = f'sudo chown -R "$(id -un)" {home}'
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding("state", "fail", f"{place} is not yours to write to", mend)
        return
    if not home.exists():
        yield Finding("state", "ok", f"{home} will be made by the first `make run`")
        return
    strange = [str(file) for file in _upper_files(home) if not os.access(file, os.W_OK)]
    if strange:
        yield Finding("state", "fail", f"not yours to write to: {', '.join(strange[:MOST_FILES])}", mend)
    else:
        yield Finding("state", "ok", f"{home} is yours to write to")


def _upper_files(home: Path) -> Iterator[Path]:
    """What lies in the state, two levels deep."""
    with contextlib.suppress(OSError):
        for path in home.iterdir():
            yield path
            if path.is_dir():
                with contextlib.suppress(OSError):
                    yield from path.iterdir()


def database(settings: Settings) -> Iterator[Finding]:
    """Whether the database answers, has the newest schema, and the same time as this machine."""
    try:
        found = schema_state(settings.database)
    except SchemaError as error:
        yield Finding("database", "fail", message_of(error), "see the message: it names both ways")
        return
    except (DatabaseUnavailableError, ConfigurationError) as error:
        mend = "start it, or correct BEACON_DATABASE_URL" if settings.database_url else "make run"
        yield Finding("database", "fail", message_of(error), mend)
        return
    if found is None:
        yield Finding("database", "ok", "will be made by the first `make run`")
        return
    if found.revision == found.newest:
        yield Finding("database", "ok", f"answers, with the newest schema ({found.newest})")
    elif found.revision is not None and found.revision > found.newest:
        yield Finding("database", "ok", f"answers, with the schema {found.revision} of a later Beacon, usable here")
    else:
        text = f"has the schema {found.revision or 'of nothing'}, and {found.newest} is the newest"
        yield Finding("database", "fail", text, "beacon migrate")
    yield _compared("clock of the database", found.time)


def http_clock(address: str) -> Iterator[Finding]:
    """The clock against that of an HTTP server."""
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - the caller's address
    try:
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:  # noqa: S310 - see above
                date = response.headers["Date"]
        except urllib.error.HTTPError as error:
            with error:
                date = error.headers["Date"]
        yield _compared(f"clock of {address}", parsedate_to_datetime(date))
    except (OSError, TypeError, ValueError) as error:
        yield Finding(
            f"clock of {address}", "warn", f"tells no time: {message_of(error)}", "name another by --time-url"
        )


def _compared(check: str, other: datetime) -> Finding:
    skew = (datetime.now(UTC) - other).total_seconds()
    text = f"differs from this machine's by {abs(skew):.1f} s"
    if abs(skew) < SKEW_SECONDS:
        return Finding(check, "ok", text)
    mend = "sudo timedatectl set-ntp true (on whichever machine is wrong)"
    return Finding(check, "fail" if abs(skew) > BROKEN_SECONDS else "warn", text, mend)


def simulation() -> Iterator[Finding]:
    """Whether a simulation has moved Beacon's clock."""
    shift = clock.shift()
    if shift:
        yield Finding("clock", "warn", f"the demo has moved it by {shift.days} days", "make clean, for a new state")


def online_store(settings: Settings) -> Iterator[Finding]:
    """Whether the Redis of the feature store answers; nothing where the store is a file."""
    file = settings.feature_repo / "feature_store.yaml"
    try:
        found = filled(read_yaml(file), variables_of(settings))
        online = found.get("online_store") or {}
    except (OSError, YamlError, KeyError, ValueError, AttributeError) as error:
        yield Finding("feature store", "fail", f"{file}: {message_of(error)}", "beacon materialize, which says more")
        return
    if online.get("type") != "redis":
        return
    address, given = redis_options(str(online.get("connection_string", "localhost:6379")))
    if online.get("redis_type") == "redis_sentinel":
        given = {}  # Feast logs in to no Sentinel, and speaks no TLS with one
    try:
        answer = ping_redis(address, given)
    except (OSError, ValueError) as error:
        mend = "start Redis, or correct connection_string in feature_store.yaml"
        yield Finding("Redis", "fail", f"{address} does not answer: {message_of(error)}", mend)
        return
    if answer.startswith("+PONG"):
        yield Finding("Redis", "ok", f"{address} answers")
    else:
        yield Finding(
            "Redis", "fail", f"{address} refuses: {answer.strip('-')}", "correct the password in connection_string"
        )


def ping_redis(address: str, options: dict[str, str]) -> str:
    """The first line that Redis answers to PING, after AUTH where there is a password."""
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as opened:
        connection: socket.socket = opened.enter_context(socket.create_connection((host, int(port)), ANSWER_SECONDS))
        if options.get("ssl", "").lower() == "true":
            connection = opened.enter_context(
                ssl.create_default_context().wrap_socket(connection, server_hostname=host)
            )
        stream = opened.enter_context(connection.makefile("rwb"))
        for command in ([["AUTH", options["password"]]] if options.get("password") else []) + [["PING"]]:
            parts = "".join(f"${len(part.encode())}\r\n{part}\r\n" for part in command)
            stream.write(f"*{len(command)}\r\n{parts}".encode())
            stream.flush()
            answer = stream.readline().decode(errors="replace").strip()
            if answer.startswith("-"):
                break
    return answer


def model(settings: Settings) -> Iterator[Finding]:
    """Whether the model in service is there whole."""
    if not settings.release_file.exists():
        yield Finding("model", "ok", "none yet: `make run` trains the first one")
        return
    try:
        pin = read_release(settings.release_file).model
        read_trusted(package_folder(settings.models_dir, pin), pin.sha256, trust_of(settings))
    except (ReleaseError, PackageError, OSError) as error:
        yield Finding("model", "fail", message_of(error), "beacon fetch-model, while MLflow runs; or beacon rollback")
        return
    yield Finding("model", "ok", f"{pin.name} version {pin.version}, every byte as released")


def servers(settings: Settings, *, runs: bool) -> Iterator[Finding]:
    """Whether MLflow, and all services of a run that is at work, answer."""
    if settings.mlflow_url and not is_ready(f"{settings.mlflow_address}/health"):
        yield Finding(
            "MLflow",
            "fail",
            "the server of BEACON_MLFLOW_URL does not answer",
            "start it, or correct BEACON_MLFLOW_URL",
        )
    if not runs:
        yield Finding("services", "ok", "stopped: `make run` starts them")
        return
    for process in services(settings):
        if not process.health or (process.name == MLFLOW and settings.mlflow_url):
            continue
        if is_ready(process.health):
            yield Finding(process.name, "ok", f"answers {process.health}")
        else:
            log = settings.home / "logs" / f"{process.name}.log"
            yield Finding(process.name, "fail", f"does not answer {process.health}", f"tail {log}")


def product(settings: Settings) -> Iterator[Finding]:
    """What `beacon check` says of the product and its data."""
    python = ENVIRONMENTS / "retraining" / "bin" / "python"
    if not python.exists():
        yield Finding("product", "warn", "is not checked: its environment is not built", "make .venvs/retraining.stamp")
        return
    given = {**os.environ, **settings.environment(), "BEACON_PROGRESS": "false"}
    command = [str(python), "-m", "beacon_core.commands.beacon", "check", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)  # noqa: S603 - a command of our own
    mend = f"beacon check --product {settings.product.parent}"
    try:
        found = msgspec.json.decode(done.stdout)
    except msgspec.DecodeError:
        yield Finding("product", "fail", (done.stderr.strip().splitlines() or ["is not checked"])[-1], mend)
        return
    errors = found.get("errors", [found.get("error")])
    if errors:
        yield Finding("product", "fail", f"{len(errors)} mistakes, such as {errors[0]}", mend)
    elif found["warnings"]:
        count = len(found["warnings"])
        yield Finding("product", "ok", f"{found['product']}: no rule is broken, {count} warning{'s' * (count != 1)}")
    else:
        yield Finding("product", "ok", f"{found['product']}: no rule is broken")
