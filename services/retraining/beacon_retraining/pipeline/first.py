"""The first retraining of an installation, which begins beside the store and MLflow and waits for them."""

from beacon_core.data.champion import champion
from beacon_core.data.database import DatabaseUnavailableError, mapped_errors, migrate, open_store
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.platform.mlflow import Mlflow, RegistryUnavailableError
from beacon_core.platform.retry import until_up
from beacon_core.platform.settings import Settings


def model_in_service(settings: Settings, product: Product, seconds: float) -> Pin | None:
    """The model in service; None where the store names none, and MLflow is up to take the first one.

    Waits `seconds` for both. Raises `DatabaseUnavailableError`, `RegistryUnavailableError`.
    """

    def ask() -> Pin | None:
        with mapped_errors():
            engine = open_store(settings.database)
            try:
                migrate(engine)
                found = champion(engine, product.name)
            finally:
                engine.dispose()
        if found is None:
            Mlflow(settings.mlflow_address).version_at(product.name, "champion")  # its answer does not matter
        return found

    return until_up(ask, seconds, (DatabaseUnavailableError, RegistryUnavailableError))
