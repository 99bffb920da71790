"""Pages that come again by themselves, for whoever asked: `?refresh=30` in the address, and a link to stop.

The header Refresh does it, without script. It is off unless somebody switches it on, and a page with a form never has
it: what somebody types would be gone. The list of predictions shows its filter as text meanwhile.
"""

from urllib.parse import urlencode

from flask import Flask, Response, request

SECONDS = 30
PARAMETER = "refresh"
ENDPOINTS = frozenset({"front", "drift_runs", "drift_run", "feature", "job_list", "job_run", "predictions"})


def add_live(app: Flask) -> None:
    """Send the header, and let templates ask."""

    @app.after_request
    def refresh(response: Response) -> Response:
        if is_live() and response.status_code == 200:
            response.headers["Refresh"] = str(SECONDS)
        return response

    app.jinja_env.globals |= {
        "is_live": is_live,
        "can_be_live": lambda: request.endpoint in ENDPOINTS,
        "live_seconds": SECONDS,
        "live_query": live_query,
    }


def is_live() -> bool:
    """Whether this page comes again by itself."""
    return request.endpoint in ENDPOINTS and request.args.get(PARAMETER) == str(SECONDS)


def live_query(on: bool) -> str:
    """The query of this page with the refresh switched on or off."""
    others = [(name, value) for name, value in request.args.items(multi=True) if name != PARAMETER]
    return urlencode([*others, (PARAMETER, str(SECONDS))] if on else others)
