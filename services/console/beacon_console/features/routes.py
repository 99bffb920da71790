"""The pages of features: how one is distributed in training and now, what is missing, and how it drifts."""

from urllib.parse import quote

from flask import Flask, render_template

from beacon_console.distributions import bins_of
from beacon_console.features import facts
from beacon_console.models.registry import Registry
from beacon_console.parameters import found_or_404, main_window, query_choice, windows_of
from beacon_core.data.client import DatabaseClient
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.web.flask_app import root


def feature_url(name: str) -> str:
    """The page of a feature, whose name may hold blanks, slashes, signs and any letters."""
    return f"{root()}/features/{quote(name, safe='')}"


def add_features(app: Flask, product: Product, database: DatabaseClient, registry: Registry) -> None:
    """Add the pages of features."""
    windows = windows_of(product)
    by_name = {feature.name: feature for feature in product.features}
    app.jinja_env.globals |= {"feature_url": feature_url, "known_features": frozenset(by_name)}

    # A name may hold a slash, and two of them side by side.
    @app.get("/features/<path:name>", merge_slashes=False)
    def feature(name: str) -> str:
        window = query_choice("window", windows, main_window(product))
        known = found_or_404(by_name.get(name), f"The product has no feature {name[:64]}.")
        with database.connect() as connection:
            story = facts.gather(connection, known, window)
        trained = facts.in_training(registry, product, known, story.current)
        distribution = story.distributions.get(window)
        return render_template(
            "feature.html",
            feature=known,
            story=story,
            bins=[] if distribution is None else bins_of(distribution),
            distribution=distribution,
            trained=None if isinstance(trained, str) else trained,
            why_not=trained if isinstance(trained, str) else "",
            window=window,
            windows_of=windows,
            effects={result.effect: result for result in story.results},
            now=clock.now(),
        )
