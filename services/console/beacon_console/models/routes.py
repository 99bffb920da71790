"""The pages of model versions."""

from flask import Flask, render_template
from markdown_it import MarkdownIt
from markupsafe import Markup

from beacon_console import traffic
from beacon_console.models import decisions
from beacon_console.models.registry import Registry
from beacon_console.reading import Store
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import NAME
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.platform.mlflow import RegistryUnavailableError


def add_models(app: Flask, product: Product, store: Store, registry: Registry) -> None:
    """Add the pages of model versions."""
    # Without HTML and links of its own: a card is a text of the registry, not of the console.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    @app.get("/models")
    def models() -> str:
        with store.reading() as connection:
            versions = traffic.versions_of(connection)
            counts = {version.version: traffic.count_of(connection, version.version) for version in versions}
        return render_template("models.html", versions=versions, counts=counts, now=clock.now())

    @app.get("/models/<version>")
    def model(version: str) -> str:
        sentence = f"There is no model version {version[:64]}, in the prediction log or in MLflow."
        if not NAME.fullmatch(version):
            raise BeaconError("unknown_model", sentence)
        with store.reading() as connection:
            logged = {item.version: item for item in traffic.versions_of(connection)}.get(version)
            count = 0 if logged is None else traffic.count_of(connection, version)
            verdicts = decisions.verdicts_of(connection, product, version)
            decided = decisions.decisions_of(connection, [verdict.sha256 for verdict in verdicts])
        registered, failure = None, None
        try:
            registered = registry.find(product.name, version)
        except RegistryUnavailableError as error:
            failure = message_of(error)
        if logged is None and registered is None and failure is None and not verdicts:
            raise BeaconError("unknown_model", sentence)
        card = None
        if registered is not None and registered.card is not None:
            card = Markup(markdown.render(registered.card))  # noqa: S704 - the renderer escapes HTML
        return render_template(
            "model.html",
            version=version,
            logged=logged,
            count=count,
            registered=registered,
            failure=failure,
            card=card,
            verdicts=verdicts,
            decided=decided,
            now=clock.now(),
        )
