"""Which models serve: follows the release file and swaps in place, keeping the old model on any failure."""

import asyncio
import logging
import math
import time
from typing import NamedTuple

from beacon_core.domain.masking import message_of, message_with_type
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import PackageError
from beacon_core.model_package.release import Release, ReleaseError, read_release
from beacon_core.platform.settings import Settings
from beacon_inference.metrics import Instruments
from beacon_inference.models.model import Model, load_model

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
# A package may arrive after the release file that names it: what was refused is tried again, ever more rarely.
RETRY_SECONDS = (1, 2, 5, 10, 30, 60)


class Serving(NamedTuple):
    """The model that answers and the one that answers in shadow; replaced together, in one assignment."""

    model: Model
    shadow: Model | None


class Models:
    """Holds what serves now; `serving` is None until the first model is ready."""

    def __init__(self, settings: Settings, product: Product, instruments: Instruments) -> None:
        self._settings = settings
        self._product = product
        self._instruments = instruments
        self._seen: tuple[int, int, int] | None = None
        self._tries = 0
        self._try_again = math.inf
        self._told: set[str] = set()
        self.serving: Serving | None = None
        self.failure: str | None = None

    async def watch(self) -> None:
        """Look at the release file once a second, for ever; a change is loaded beside what serves."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Take the release file's models into service if the file changed, or if it is time to try again."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen, self._tries = stamp, 0
            self._told.clear()
        elif time.monotonic() < self._try_again:
            return
        self._try_again = math.inf
        try:
            serving = await asyncio.to_thread(self._load)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old model serves on
            self._failed(error)
        else:
            self._take(serving)
        self._tries += 1

    def _take(self, serving: Serving) -> None:
        self.failure = None
        if self._tries and serving == self.serving:
            return  # tried again for the shadow's sake, and nothing is new
        self.serving = serving
        self._instruments.swapped(serving.model, serving.shadow)
        log.info("model in service", extra={"model_version": serving.model.pin.version})

    def _load(self) -> Serving:
        release: Release = read_release(self._settings.release_file)
        model = self._loaded(release.model)
        shadow: Model | None = None
        if release.shadow is not None:
            try:
                shadow = self._loaded(release.shadow)
            except PackageError as error:
                # A shadow that cannot run is its own problem, never the champion's.
                self._refused("the shadow model is refused", "shadow_refused", message_of(error))
        return Serving(model, shadow)

    def _loaded(self, pin: Pin) -> Model:
        for current in () if self.serving is None else (self.serving.model, self.serving.shadow):
            if current is not None and current.pin == pin:
                return current
        return load_model(self._settings.models_dir, pin, self._product)

    def _failed(self, error: Exception) -> None:
        expected = isinstance(error, ReleaseError | PackageError)
        self.failure = message_of(error) if expected else message_with_type(error)
        self._refused("the new model is refused", "refused", self.failure, None if expected else error)

    def _refused(self, message: str, outcome: str, reason: str, bug: Exception | None = None) -> None:
        """Plan the next try; a reason is logged and counted once, however often it is met."""
        self._try_again = time.monotonic() + RETRY_SECONDS[min(self._tries, len(RETRY_SECONDS) - 1)]
        if reason in self._told:
            return
        self._told.add(reason)
        self._instruments.swap_failed(outcome)
        kept = None if self.serving is None else self.serving.model.pin.version
        log.error(message, extra={"reason": reason, "model_version": kept}, exc_info=bug)

    def _stamp(self) -> tuple[int, int, int]:
        try:
            stat = self._settings.release_file.stat()
        except OSError:
            return (0, 0, 0)
        return (stat.st_mtime_ns, stat.st_ino, stat.st_size)
