"""The console's pages, one line a room."""

from flask import Flask
from jinja2 import ChoiceLoader, PackageLoader

from beacon_console.drift.routes import add_drift
from beacon_console.jobs.routes import add_jobs
from beacon_console.models.approval_routes import add_decisions
from beacon_console.models.registry import Registry
from beacon_console.models.routes import add_models
from beacon_console.overview.routes import add_overview
from beacon_console.predictions.routes import add_predictions
from beacon_console.promotions.routes import add_promotions
from beacon_console.reading import Store
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings

ROOMS = ("overview", "drift", "jobs", "models", "predictions", "promotions")


def add_pages(app: Flask, settings: Settings, product: Product, store: Store, registry: Registry) -> None:
    """Add every page, and the one route that changes something."""
    app.jinja_loader = ChoiceLoader(
        [PackageLoader("beacon_console"), *(PackageLoader(f"beacon_console.{room}") for room in ROOMS)]
    )
    add_overview(app, settings, product, store)
    add_drift(app, product, store)
    add_jobs(app, store)
    add_models(app, product, store, registry)
    add_predictions(app, product, store)
    add_promotions(app, product, store)
    add_decisions(app, settings, product, store)
