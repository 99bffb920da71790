"""Fill a feature store from BEACON_HOME/data; runs in the feature service's environment."""

from beacon_core.feature_store import repo
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings

settings = load_settings()
product = load_product(settings.product)
repo.apply(settings, product)
repo.materialize(settings, product)
