"""The response on its way to the client."""

from beacon_core.web.http import Handler, Request, Response


def send_response(handler: Handler) -> Handler:
    """Send what the handler returns, in one go."""

    async def handle(request: Request) -> Response:
        response = await handler(request)
        if response.complete:
            headers = response.headers
        else:
            headers = [
                (b"content-type", response.content_type),
                (b"content-length", str(len(response.body)).encode()),
                (b"x-request-id", request.id.encode()),
                *response.headers,
            ]
        await request.send({"type": "http.response.start", "status": response.status, "headers": headers})
        body = b"" if request.method == "HEAD" else response.body
        await request.send({"type": "http.response.body", "body": body, "more_body": not response.last})
        return response

    return handle
