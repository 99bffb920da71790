"""The write routes on the app: API key first, then body, then Feast's SDK."""

from collections.abc import Callable

from flask import Flask, Response

from beacon_core.domain.api_keys import Scope
from beacon_core.domain.errors import BeaconError
from beacon_core.platform.settings import Settings
from beacon_core.web.access import AccessControl
from beacon_core.web.flask_app import current_request
from beacon_feature_serving.writing import push
from beacon_feature_serving.writing.bodies import PushBody, WriteBody, read_body
from beacon_feature_serving.writing.materialize import Materializer
from beacon_feature_serving.writing.writer import Writer

FLASK_SCOPES: dict[str, Scope] = {
    "/push": "push",
    "/write-to-online-store": "push",
    "/materialize": "materialize",
    "/materialize-incremental": "materialize",
}
"""What an API key needs for each of the routes."""


def add_write_routes(
    app: Flask, settings: Settings, access: AccessControl, writer: Writer, materializer: Materializer
) -> None:
    """Put the write routes on the app, each behind an API key."""
    most_rows = settings.max_batch_rows

    def push_rows() -> Response:
        push.push(writer, read_body(PushBody, most_rows, writer.values_per_row), most_rows)
        return Response(status=200)

    def write_online() -> Response:
        push.write_online(writer, read_body(WriteBody, most_rows, writer.values_per_row), most_rows)
        return Response(b"null", 200, content_type="application/json")

    def guarded(scope: Scope, handle: Callable[[], Response]) -> Callable[[], Response]:
        def route() -> Response:
            _check(access, scope)
            return handle()

        return route

    handlers = {
        "/push": push_rows,
        "/write-to-online-store": write_online,
        "/materialize": materializer.materialize,
        "/materialize-incremental": materializer.materialize_incremental,
    }
    for path, handle in handlers.items():
        app.add_url_rule(path, path, guarded(FLASK_SCOPES[path], handle), methods=["POST"])


def _check(access: AccessControl, scope: Scope) -> None:
    """BeaconError `not_found` where writes are off; `unauthorized` and `forbidden` as access has them."""
    if not access.has_keys:
        raise BeaconError(
            "not_found", "writes are switched off; BEACON_API_KEYS_FILE or BEACON_FEATURE_TOKEN switches them on"
        )
    access.check(current_request(), scope)
