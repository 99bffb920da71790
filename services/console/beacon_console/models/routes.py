"""The pages of model versions."""

from flask import Flask, Response, render_template
from markdown_it import MarkdownIt
from markupsafe import Markup

from beacon_console.models.registry import Registry
from beacon_core.data import approvals, verdicts
from beacon_core.data.client import DatabaseClient
from beacon_core.data.prediction_log import traffic
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.masking import message_of
from beacon_core.domain.pins import NAME
from beacon_core.domain.product import Product
from beacon_core.model_package.manifest import EFFECTS_FILE
from beacon_core.platform import clock
from beacon_core.platform.mlflow import RegistryUnavailableError

RECENT = 5
"""Verdicts that are read of one version."""


def add_models(app: Flask, product: Product, database: DatabaseClient, registry: Registry) -> None:
    """Add the pages of model versions."""
    # Without HTML and links of its own: a card is a text of the registry, not of the console.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    @app.get("/models")
    def models() -> str:
        with database.connect() as connection:
            versions = traffic.versions(connection)
            counts = {version.version: traffic.count(connection, version.version) for version in versions}
        return render_template("models.html", versions=versions, counts=counts, now=clock.now())

    @app.get("/models/<version>")
    def model(version: str) -> str:
        sentence = f"There is no model version {version[:64]}, in the prediction log or in MLflow."
        if not NAME.fullmatch(version):
            raise BeaconError("unknown_model", sentence)
        with database.connect() as connection:
            logged = {item.version: item for item in traffic.versions(connection)}.get(version)
            count = 0 if logged is None else traffic.count(connection, version)
            judged = verdicts.history(connection, product.name, RECENT, version)
            decided = approvals.history(connection, [verdict.sha256 for verdict in judged])
        registered, failure = None, None
        try:
            registered = registry.find(product.name, version)
        except RegistryUnavailableError as error:
            failure = message_of(error)
        if logged is None and registered is None and failure is None and not judged:
            raise BeaconError("unknown_model", sentence)
        card = None
        if registered is not None and registered.card is not None:
            # A page's own pictures lie below its address.
            text = markdown.render(registered.card).replace(f'src="{EFFECTS_FILE}"', f'src="{version}/{EFFECTS_FILE}"')
            card = Markup(text)  # noqa: S704 - the renderer escapes HTML
        return render_template(
            "model.html",
            version=version,
            logged=logged,
            count=count,
            registered=registered,
            failure=failure,
            card=card,
            verdicts=judged,
            decided=decided,
            now=clock.now(),
        )

    @app.get(f"/models/<version>/{EFFECTS_FILE}")
    def effects(version: str) -> Response:
        """The picture of the card; as an image, it runs nothing."""
        try:
            picture = registry.picture(product.name, version) if NAME.fullmatch(version) else None
        except RegistryUnavailableError as error:
            raise BeaconError("registry_unavailable", message_of(error)) from error
        if picture is None:
            raise BeaconError("unknown_model", f"MLflow has no picture of the effects of version {version[:64]}.")
        return Response(picture, content_type="image/svg+xml")
