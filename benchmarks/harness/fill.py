"""Fill a feature store from BEACON_HOME/data; runs in the feature service's environment."""

from beacon_core.product import load_product
from beacon_core.settings import load_settings
from feature_repo import repo

settings = load_settings()
product = load_product(settings.product)
repo.apply(settings, product)
repo.materialize(settings, product)
