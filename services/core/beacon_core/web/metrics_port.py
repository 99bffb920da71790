"""The metrics port: /metrics for Prometheus and /livez for the kubelet, apart from what clients reach."""

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Handler, Request, Response, error_body
from beacon_core.web.middlewares.errors import failure


def metrics_handler(registry: CollectorRegistry, flush: Callable[[], None]) -> Handler:
    """Return what answers on it; `flush` counts what has been answered so far."""

    async def handle(request: Request) -> Response:
        path = request.scope["path"]
        if path == "/metrics" and request.method in {"GET", "HEAD"}:
            flush()
            encode, kind = choose_encoder(request.header(b"accept") or "")
            body: bytes = await asyncio.to_thread(encode, registry)
            return Response(body, content_type=kind.encode())
        if path == "/livez":
            return Response(b'{"live":true}')
        return failure(BeaconError("not_found", "this port has /metrics"), request, error_body)

    return handle
