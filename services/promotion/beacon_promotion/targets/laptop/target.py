"""The laptop as a target: one inference process that follows the release file, and dark ones started beside it."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import Pin
from beacon_core.model_package.download import download_package
from beacon_core.model_package.manifest import Package, PackageError
from beacon_core.model_package.release import Release, ReleaseError, package_folder, read_release, write_release
from beacon_core.model_package.signature import read_trusted, trust_of
from beacon_core.platform import clock
from beacon_core.platform.locks import exclusive
from beacon_core.platform.mlflow import RegistryUnavailableError
from beacon_core.platform.settings import Settings
from beacon_promotion.targets.base.refusals import reason_of
from beacon_promotion.targets.base.target import Instance, ReleaseFailedError
from beacon_promotion.targets.laptop.state_store import FileStateStore

Start = Callable[[dict[str, str], Path], "subprocess.Popen[bytes]"]
"""Starts inference with these settings, its output into the file, in a process group that ends with this process."""

READY_SECONDS = 60.0
SWAP_SECONDS = 20.0
POLL_SECONDS = 0.2
PROBE_SECONDS = 3.0
STOP_SECONDS = 10.0
MOST_MEMORY = 768 << 20
"""Bytes that a dark instance may take while it starts; inference takes about 100 MiB."""


class Laptop:
    """`PromotionTarget` (target.py) on the state folder of `settings`."""

    name = "laptop"
    splits = releases_first = False

    def __init__(self, settings: Settings, start: Start) -> None:
        self._settings = settings
        self._start = start
        self._folder = settings.home / "run" / "dark"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.state = FileStateStore(settings.home / "promotion")

    def lock(self) -> AbstractContextManager[None]:
        """Hold a file's lock, which the system takes away from a process that ends; raises `BusyError`."""
        file = self._settings.home / "run" / "promote.lock"
        holder = f"process {os.getpid()}, since {clock.now().isoformat(timespec='seconds')}"
        return exclusive(file, "another promotion is at work", holder)

    def recover(self) -> list[str]:
        """Remove a shadow and dark folders left over; a damaged release file is left to the caller."""
        changes = []
        if self._folder.exists():
            shutil.rmtree(self._folder)
            changes.append("removed the dark instances that were left over")
        with contextlib.suppress(ReleaseError):
            release = self.serving()
            if release is None or release.shadow is None:
                return changes
            write_release(self._settings.release_file, Release(model=release.model))
            changes.append(f"ended the shadow of version {release.shadow.version}, which was left over")
        return changes

    def serving(self) -> Release | None:
        """The release file's release, None without a file; raises `ReleaseError` where it is damaged."""
        try:
            return read_release(self._settings.release_file)
        except ReleaseError:
            if self._settings.release_file.exists():
                raise
            return None

    def instances(self) -> list[Instance]:
        """The one of `make run`; none while it does not run."""
        settings = self._settings
        urls = [f"http://{settings.host}:{port}" for port in (settings.inference_port, settings.inference_metrics_port)]
        try:
            pin, _ = _readiness(urls[0])
        except OSError:
            return []
        return [Instance("inference", urls[0], f"{urls[1]}/metrics", pin)]

    def package(self, pin: Pin) -> Package:
        """The package in the models folder, downloaded from MLflow where it is missing."""
        models, trust = self._settings.models_dir, trust_of(self._settings)
        try:
            if package_folder(models, pin).is_dir():
                return read_trusted(package_folder(models, pin), pin.sha256, trust)
            return download_package(self._settings.mlflow_address, pin, models, trust)
        except PackageError as error:
            raise ReleaseFailedError(reason_of(str(error)), str(error)) from error
        except (RegistryUnavailableError, OSError) as error:
            raise ReleaseFailedError("package_missing", str(error)) from error

    def check(self, before: Pin | None, after: Pin) -> None:  # noqa: ARG002 - nothing but the model can change here
        """Raise `ReleaseFailedError` unless the old package is still there, whole."""
        if before is not None:
            self._way_back(before)

    @contextlib.contextmanager
    def dark(self, pins: Sequence[Pin]) -> Iterator[list[Instance]]:
        """A process for each pin, in a folder and on ports of its own, with the feature store of all."""
        try:
            yield [self._dark(number, pin) for number, pin in enumerate(pins)]
        finally:
            for process in self._processes.values():
                _end(process)
            self._processes.clear()
            shutil.rmtree(self._folder, ignore_errors=True)

    def ended(self, instance: Instance) -> ReleaseFailedError | None:
        """Whether a dark process is gone."""
        process = self._processes.get(instance.name)
        if process is None or (code := process.poll()) is None:
            return None
        killed = code in {-signal.SIGKILL, 128 + signal.SIGKILL}
        reason = "memory" if killed else "crash_at_load"
        return ReleaseFailedError(reason, f"{instance.name} ended with status {code}")  # type: ignore[arg-type]

    def shadow(self, pin: Pin | None) -> None:
        """Name it in the release file, or remove the name."""
        release = self.serving()
        if release is None or release.shadow == pin:
            return
        write_release(self._settings.release_file, Release(model=release.model, shadow=pin))

    def canary(self, pin: Pin | None, share: float) -> None:
        """Refuse: one process cannot be split."""
        raise NotImplementedError("a laptop has one inference process")

    def release(self, pin: Pin) -> None:
        """Write the release file, and wait until inference serves it, where it runs."""
        self._release(pin)

    def restore(self, pin: Pin) -> None:
        """Write the release file of before; the package must be there."""
        self._way_back(pin)
        self._release(pin)

    def _way_back(self, pin: Pin) -> None:
        try:
            read_trusted(package_folder(self._settings.models_dir, pin), pin.sha256, trust_of(self._settings))
        except PackageError as error:
            raise ReleaseFailedError("no_way_back", f"version {pin.version} cannot be restored: {error}") from error

    def _release(self, pin: Pin) -> None:
        write_release(self._settings.release_file, Release(model=pin))
        deadline = time.monotonic() + SWAP_SECONDS
        while time.monotonic() < deadline:
            instances = self.instances()
            if all(instance.pin == pin for instance in instances):
                return
            time.sleep(POLL_SECONDS)
        raise ReleaseFailedError(
            "not_ready", f"inference does not serve version {pin.version} after {SWAP_SECONDS:.0f} s"
        )

    def _dark(self, number: int, pin: Pin) -> Instance:
        home = self._folder / str(number)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        # Below the real name the package would be looked for in this folder.
        (home / "models").symlink_to(self._settings.models_dir, target_is_directory=True)
        write_release(home / "release.json", Release(model=pin))
        ports = _free_ports(2)
        own = {
            "BEACON_HOME": str(home),
            "BEACON_DATABASE_URL": "",
            "BEACON_RELEASE": "",
            "BEACON_SPOOL": "",
            "BEACON_HOST": "127.0.0.1",
            "BEACON_INFERENCE_PORT": str(ports[0]),
            "BEACON_INFERENCE_METRICS_PORT": str(ports[1]),
            "BEACON_ACCESS_LOG": "false",
            "BEACON_FEATURES_URL": self._settings.features_address,
            # Its home is another one, and the keys that are trusted are not.
            "BEACON_MODEL_KEYS_FILE": str(keys) if (keys := self._settings.trusted_keys_file).exists() else "",
        }
        name = f"version {pin.version} in the dark"
        process = self._start(own, home / "log")
        self._processes[name] = process
        url = f"http://127.0.0.1:{ports[0]}"
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if (code := process.poll()) is not None:
                log = (home / "log").read_text(encoding="utf-8", errors="replace")[-500:]
                raise ReleaseFailedError("crash_at_load", f"version {pin.version} ended with status {code}: {log}")
            if (peak := _peak_memory(process.pid)) > MOST_MEMORY:
                raise ReleaseFailedError("memory", f"version {pin.version} takes {peak >> 20} MiB before it is ready")
            with contextlib.suppress(OSError):
                serves, refusal = _readiness(url)
                if refusal:
                    raise ReleaseFailedError(reason_of(refusal), refusal)
                if serves == pin:
                    return Instance(name, url, f"http://127.0.0.1:{ports[1]}/metrics", pin)
            time.sleep(POLL_SECONDS)
        raise ReleaseFailedError("not_ready", f"version {pin.version} is not ready after {READY_SECONDS:.0f} s")


def _readiness(url: str) -> tuple[Pin | None, str]:
    """The model that an instance serves, or why it serves none; raises OSError where nobody answers."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=PROBE_SECONDS) as answer:  # noqa: S310 - this machine's
            return msgspec.convert(json.load(answer)["model"], Pin), ""
    except urllib.error.HTTPError as error:
        with error:
            return None, str(json.load(error).get("error", error.reason))
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"{url}: {message_of(error)}") from error


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def _peak_memory(group: int) -> int:
    """Most resident memory, in bytes, of a process of this group; 0 where the system has no /proc."""
    peak = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getpgid(int(folder.name)) == group:
                status = (folder / "status").read_text()
                peak = max(peak, int(status.partition("VmHWM:")[2].split(maxsplit=1)[0] or 0) << 10)
    return peak


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process group, by force where it does not obey."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
