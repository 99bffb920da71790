"""Health routes of every protocol, answered on the event loop: a hung database may block every Flask thread."""

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Request, Response, Route, encode_json
from beacon_inference.models.hot_swap import Models
from beacon_inference.protocols.messages import LiveResponse, ModelPin, ReadyModel, ReadyResponse

LIVE = encode_json(LiveResponse())


def health_routes(models: Models) -> list[Route]:
    """The routes. Ready means that a model is in service; no shared dependency is checked."""

    async def live(_: Request) -> Response:
        return Response(LIVE)

    async def readyz(_: Request) -> Response:
        if models.in_service is None:
            raise BeaconError("model_not_ready", models.failure or "no model is in service yet")
        pin = models.in_service.model.pin
        model = ModelPin(pin.name, pin.version, pin.sha256)
        return Response(encode_json(ReadyModel(ready=True, model=model)))

    async def v2_ready(_: Request) -> Response:
        ready = models.in_service is not None
        return Response(encode_json(ReadyResponse(ready)), 200 if ready else 503)

    async def ping(_: Request) -> Response:
        # As MLflow answers, except for the content type: a line feed is not JSON.
        return Response(b"\n", 404 if models.in_service is None else 200, b"text/plain")

    handlers = {
        "/livez": live,
        "/readyz": readyz,
        "/v2/health/live": live,
        "/v2/health/ready": v2_ready,
        "/ping": ping,
        "/health": ping,
    }
    return [Route(path, handler, "GET") for path, handler in handlers.items()]
