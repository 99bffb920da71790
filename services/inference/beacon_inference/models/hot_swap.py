"""Hot swap: follows the release file, replaces the models in service, and keeps the old ones on any failure."""

import asyncio
import logging
import math
import time
from typing import NamedTuple

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_of, message_with_type
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.domain.schema import is_breaking
from beacon_core.model_package.manifest import PackageError
from beacon_core.model_package.release import Release, ReleaseError, read_release
from beacon_core.model_package.signature import trust_of
from beacon_core.platform.memory import release_freed_memory
from beacon_core.platform.settings import Settings
from beacon_core.platform.signing_keys import SigningKeyError
from beacon_inference.metrics import Instruments
from beacon_inference.models.model import Model, load_model, product_in_service

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
# A package may arrive after the release file that names it: a refused one is retried at growing intervals.
RETRY_SECONDS = (1, 2, 5, 10, 30, 60)


class ModelsInService(NamedTuple):
    """The model that answers and the one that answers in shadow; replaced together, in one assignment.

    `product` is the one that requests follow while this model answers.
    """

    model: Model
    shadow: Model | None
    product: Product


class Models:
    """Holds the models in service; `in_service` is None until the first model is ready."""

    def __init__(self, settings: Settings, product: Product, instruments: Instruments) -> None:
        self._settings = settings
        self._product = product
        self._instruments = instruments
        self._seen: tuple[int, int, int] | None = None
        self._tries = 0
        self._try_again = math.inf
        self._logged: set[str] = set()
        self.in_service: ModelsInService | None = None
        self.failure: str | None = None

    @property
    def product(self) -> Product:
        """The product that requests follow now: the file's, until a model is in service."""
        return self._product if self.in_service is None else self.in_service.product

    def find(self, name: str, version: str | None = None) -> Model:
        """The model in service, if it has this name and version (None: any version).

        Raises BeaconError `unknown_model` where it has others, and `model_not_ready` where none is in service.
        """
        if name != self._product.name:
            raise BeaconError(
                "unknown_model", f"there is no model {name[:64]}; the model is {self._product.name}", "name"
            )
        if self.in_service is None:
            raise BeaconError("model_not_ready", "no model is in service yet")
        model = self.in_service.model
        if version not in {None, model.pin.version}:
            rule = f"version {version[:64]} is not in service; version {model.pin.version} is"
            raise BeaconError("unknown_model", rule, "version")
        return model

    async def watch(self) -> None:
        """Check the release file once per second; a changed one is loaded beside the models in service."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Take the release file's models into service if the file changed, or if a retry is due."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen, self._tries = stamp, 0
            self._logged.clear()
        elif time.monotonic() < self._try_again:
            return
        self._try_again = math.inf
        try:
            models = await asyncio.to_thread(self._load)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old model serves on
            self._failed(error)
        else:
            self._swap(models)
        await asyncio.to_thread(release_freed_memory)
        self._tries += 1

    def _swap(self, models: ModelsInService) -> None:
        self.failure = None
        if self._tries and models == self.in_service:
            return  # only the shadow was retried, and nothing changed
        self.in_service = models
        self._instruments.swapped(models.model, models.shadow, models.product)
        version = models.model.pin.version
        log.info("model in service", extra={"model_version": version})
        if models.product.schema != self._product.schema:
            log.warning(
                "product.yaml has a breaking change: requests follow the schema of the model in service until a model "
                "of the new one is released",
                extra={"model_version": version},
            )

    def _load(self) -> ModelsInService:
        release: Release = read_release(self._settings.release_file)
        model = self._load_model(release.model)
        product = product_in_service(self._product, model.manifest)
        if self.in_service is not None and product == self.in_service.product:
            product = self.in_service.product  # what was made of it is kept
        shadow: Model | None = None
        if release.shadow is not None:
            try:
                shadow = self._load_shadow(release.shadow, product)
            except PackageError as error:
                # A shadow that cannot run must not keep the champion from service.
                self._refused("the shadow model is refused", "shadow_refused", message_of(error))
        return ModelsInService(model, shadow, product)

    def _load_shadow(self, pin: Pin, product: Product) -> Model:
        shadow = self._load_model(pin)
        if is_breaking(shadow.manifest.schema, product.schema):
            raise PackageError(f"{pin.name} {pin.version}: cannot answer requests of the model in service")
        return shadow

    def _load_model(self, pin: Pin) -> Model:
        for current in () if self.in_service is None else (self.in_service.model, self.in_service.shadow):
            if current is not None and current.pin == pin:
                return current
        return load_model(self._settings.models_dir, pin, self._product, trust_of(self._settings))

    def _failed(self, error: Exception) -> None:
        expected = isinstance(error, ReleaseError | PackageError | SigningKeyError)
        self.failure = message_of(error) if expected else message_with_type(error)
        self._refused("the new model is refused", "refused", self.failure, None if expected else error)

    def _refused(self, message: str, outcome: str, reason: str, bug: Exception | None = None) -> None:
        """Schedule the next try; each reason is logged and counted once."""
        self._try_again = time.monotonic() + RETRY_SECONDS[min(self._tries, len(RETRY_SECONDS) - 1)]
        if reason in self._logged:
            return
        self._logged.add(reason)
        self._instruments.swap_failed(outcome)
        kept = None if self.in_service is None else self.in_service.model.pin.version
        log.error(message, extra={"reason": reason, "model_version": kept}, exc_info=bug)

    def _stamp(self) -> tuple[int, int, int]:
        try:
            stat = self._settings.release_file.stat()
        except OSError:
            return (0, 0, 0)
        return (stat.st_mtime_ns, stat.st_ino, stat.st_size)
