"""Inference's own application, for the servers that it is compared under."""

from beacon_core.platform.settings import load_settings
from beacon_inference.app import create

app = create(load_settings())
