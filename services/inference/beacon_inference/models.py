"""Which models serve: follows the release file and swaps in place, keeping the old model on any failure."""

import asyncio
import logging
from typing import NamedTuple

from beacon_core.manifest import PackageError
from beacon_core.product import Product
from beacon_core.release import Pin, Release, ReleaseError, read_release
from beacon_core.settings import Settings
from beacon_inference.instruments import Instruments
from beacon_inference.model import Model, load_model

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0


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
        self.serving: Serving | None = None
        self.failure: str | None = None

    async def watch(self) -> None:
        """Look at the release file once a second, for ever; a change is loaded beside what serves."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Take the release file's models into service if the file changed since the last look."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.serving = await asyncio.to_thread(self._load)
        except (ReleaseError, PackageError) as error:
            self._failed(str(error))
        except Exception as error:
            log.exception("a model could not be taken into service")
            self._failed(repr(error))
        else:
            self.failure = None
            self._instruments.swapped(self.serving.model, self.serving.shadow)
            log.info("model in service", extra={"model_version": self.serving.model.pin.version})

    def _load(self) -> Serving:
        release: Release = read_release(self._settings.release_file)
        model = self._loaded(release.model)
        shadow: Model | None = None
        if release.shadow is not None:
            try:
                shadow = self._loaded(release.shadow)
            except PackageError as error:
                # A shadow that cannot run is its own problem, never the champion's.
                log.error("the shadow model is refused", extra={"reason": str(error)})
                self._instruments.swap_failed("shadow_refused")
        return Serving(model, shadow)

    def _loaded(self, pin: Pin) -> Model:
        for current in () if self.serving is None else (self.serving.model, self.serving.shadow):
            if current is not None and current.pin == pin:
                return current
        return load_model(self._settings.models_dir, pin, self._product)

    def _failed(self, reason: str) -> None:
        self.failure = reason
        self._instruments.swap_failed("refused")
        kept = None if self.serving is None else self.serving.model.pin.version
        log.error("the new model is refused", extra={"reason": reason, "model_version": kept})

    def _stamp(self) -> tuple[int, int, int]:
        try:
            stat = self._settings.release_file.stat()
        except OSError:
            return (0, 0, 0)
        return (stat.st_mtime_ns, stat.st_ino, stat.st_size)
