"""The write routes on the app: token first, then body, then Feast's SDK."""

import hmac
from collections.abc import Callable

from flask import Flask, Response, request

from beacon_core.domain.errors import BeaconError
from beacon_core.platform.settings import Settings
from beacon_feature_serving.writing import push
from beacon_feature_serving.writing.bodies import PushBody, WriteBody, read_body
from beacon_feature_serving.writing.materialize import Materializer
from beacon_feature_serving.writing.writer import Writer


def add_write_routes(app: Flask, settings: Settings, writer: Writer, materializer: Materializer) -> None:
    """Put the write routes on the app, each behind the token."""
    most_rows = settings.max_batch_rows

    def push_rows() -> Response:
        push.push(writer, read_body(PushBody, most_rows, writer.values_per_row), most_rows)
        return Response(status=200)

    def write_online() -> Response:
        push.write_online(writer, read_body(WriteBody, most_rows, writer.values_per_row), most_rows)
        return Response(b"null", 200, content_type="application/json")

    def guarded(handle: Callable[[], Response]) -> Callable[[], Response]:
        def route() -> Response:
            _require_token(settings.feature_token)
            return handle()

        return route

    routes: dict[str, Callable[[], Response]] = {
        "/push": push_rows,
        "/write-to-online-store": write_online,
        "/materialize": materializer.materialize,
        "/materialize-incremental": materializer.materialize_incremental,
    }
    for path, handle in routes.items():
        app.add_url_rule(path, path, guarded(handle), methods=["POST"])


def _require_token(token: str) -> None:
    """BeaconError `not_found` where writes are off, `unauthorized` without the right bearer token."""
    if not token:
        raise BeaconError("not_found", "writes are switched off; BEACON_FEATURE_TOKEN switches them on")
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise BeaconError("unauthorized", "send the write token as `Authorization: Bearer TOKEN`", "Authorization")
