"""The console's pages, one line per room."""

from flask import Flask
from jinja2 import ChoiceLoader, PackageLoader

from beacon_console.api.routes import add_api
from beacon_console.comparison.routes import add_comparison
from beacon_console.drift.routes import add_drift
from beacon_console.features.routes import add_features
from beacon_console.jobs.routes import add_jobs
from beacon_console.login.acting import Acting
from beacon_console.models.approval_routes import add_approvals
from beacon_console.models.registry import Registry
from beacon_console.models.routes import add_models
from beacon_console.overview.routes import add_overview
from beacon_console.predictions.routes import add_predictions
from beacon_console.promotions.routes import add_promotions
from beacon_console.what_if.routes import add_what_if
from beacon_core.data.client import DatabaseClient
from beacon_core.domain.product import Product
from beacon_core.platform.settings import Settings

ROOMS = (
    "login",
    "overview",
    "comparison",
    "drift",
    "features",
    "jobs",
    "models",
    "predictions",
    "promotions",
    "what_if",
)


def add_pages(app: Flask, settings: Settings, product: Product, database: DatabaseClient, registry: Registry) -> None:
    """Add every page, and the routes that change something."""
    app.jinja_loader = ChoiceLoader(
        [PackageLoader("beacon_console"), *(PackageLoader(f"beacon_console.{room}") for room in ROOMS)]
    )
    add_overview(app, settings, product, database)
    add_comparison(app, product, database)
    add_drift(app, product, database)
    add_features(app, product, database, registry)
    acting = Acting(app, settings)
    add_jobs(app, product, database, acting)
    add_models(app, product, database, registry)
    add_predictions(app, settings, product, database)
    add_promotions(app, product, database)
    add_what_if(app, settings, product, database)
    add_approvals(app, product, database, acting)
    add_api(app, database)
