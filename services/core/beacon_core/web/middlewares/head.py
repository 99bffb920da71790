"""The rules of a request's head that every server leaves to its application."""

from collections.abc import Awaitable

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Handler, Request, Response

MOST_TARGET_BYTES = 4096
MOST_FIELDS = 100
MOST_FIELD_BYTES = 8192
VERSIONS = {"1.0", "1.1"}


def check_head(handler: Handler) -> Handler:
    """Refuse a head that is too large, or that does not name one host (RFC 9112 section 3.2)."""

    def handle(request: Request) -> Awaitable[Response]:
        scope, headers = request.scope, request.headers
        if len(scope["path"]) + len(scope["query_string"]) > MOST_TARGET_BYTES:
            raise BeaconError("uri_too_long", f"the path and its query have more than {MOST_TARGET_BYTES} bytes")
        fields = scope["headers"]
        if len(fields) > MOST_FIELDS or max(map(len, headers.values()), default=0) > MOST_FIELD_BYTES:
            rule = f"at most {MOST_FIELDS} headers are taken, of {MOST_FIELD_BYTES} bytes each"
            raise BeaconError("headers_too_large", rule)
        version = scope["http_version"]
        if version not in VERSIONS or (version == "1.0" and b"transfer-encoding" in headers):
            raise BeaconError("invalid_request", "requests are of HTTP/1.1, or of HTTP/1.0 without chunks")
        if b"host" not in headers and version == "1.1":
            raise BeaconError("invalid_request", "is needed in HTTP/1.1", "Host")
        if len(fields) != len(headers) and sum(name == b"host" for name, _ in fields) > 1:
            raise BeaconError("invalid_request", "may be there once", "Host")
        return handler(request)

    return handle
