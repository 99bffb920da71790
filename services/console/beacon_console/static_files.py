"""The style sheet and the icon, under names that change with their content, so that browsers may keep them."""

import hashlib
from importlib import resources

from flask import Flask, Response, abort

from beacon_core.web.flask_app import root

TYPES = {"console.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


def add_static_files(app: Flask) -> None:
    """Add the route of the static files, and `static_url` for the templates."""
    folder = resources.files("beacon_console").joinpath("static")
    contents = {name: folder.joinpath(name).read_bytes() for name in TYPES}
    tags = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in contents.items()}
    app.jinja_env.globals["static_url"] = lambda name: f"{root()}/static/{tags[name]}/{name}"

    @app.get("/static/<tag>/<name>")
    def static_file(tag: str, name: str) -> Response:
        if name not in TYPES or tag != tags[name]:
            abort(404)
        response = Response(contents[name], content_type=TYPES[name])
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
