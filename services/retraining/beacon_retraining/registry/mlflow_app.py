"""MLflow's server with two logins: `mlflow server --app-name beacon`, where the packages are registered.

The reader may look at everything and change nothing; the writer may change everything. What MLflow brings itself
(`--app-name basic-auth`) has no such reader: whoever it knows may make experiments, models and versions of their own.
The rule here is about the methods of HTTP, so it holds for routes that a later MLflow adds, too.
"""

import base64
import binascii
import hmac
import os
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/health"})
"""What probes ask."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
QUESTION = re.compile(r"/(?:ajax-)?api/\d+\.\d+/mlflow/[a-z-]+/search|/graphql")
"""The routes that take a question as a POST, which MLflow's own pages send; a file's path may end in any word."""
VARIABLES = {False: "MLFLOW_READER", True: "MLFLOW_WRITER"}


class LoginError(Exception):
    """A login is missing; the message names the variable."""


class Login(NamedTuple):
    """A user and the password, and whether the user may change anything."""

    user: bytes
    password: bytes
    writes: bool


class Logins:
    """Asks for a login in front of `app`, an ASGI application."""

    def __init__(self, app: App, logins: list[Login]) -> None:
        self._app = app
        self._logins = logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it: 401 without a login, 403 where the login may not do that."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        login = self._login(dict(scope["headers"]).get(b"authorization", b""))
        if login is None:
            await _refuse(send, 401, b"give the user and the password of a login to MLflow", challenge=True)
        elif not login.writes and not _changes_nothing(scope["method"], scope["path"]):
            await _refuse(send, 403, b"this login may read, and change nothing")
        else:
            await self._app(scope, receive, send)

    def _login(self, header: bytes) -> Login | None:
        kind, _, text = header.partition(b" ")
        if kind.lower() != b"basic":
            return None
        try:
            user, _, password = base64.b64decode(text.strip(), validate=True).partition(b":")
        except binascii.Error:
            return None
        found = None
        for login in self._logins:  # all of them, so that the time says nothing
            if hmac.compare_digest(login.user, user) & hmac.compare_digest(login.password, password):
                found = login
        return found


def logins_of(environment: Mapping[str, str]) -> list[Login]:
    """The logins of MLFLOW_READER_USERNAME and _PASSWORD, and of MLFLOW_WRITER_*; raises `LoginError`."""
    found = []
    for writes, prefix in VARIABLES.items():
        user, password = (environment.get(f"{prefix}_{part}", "").strip() for part in ("USERNAME", "PASSWORD"))
        for part, value in (("USERNAME", user), ("PASSWORD", password)):
            if not value:
                raise LoginError(f"{prefix}_{part} is not set")
        found.append(Login(user.encode(), password.encode(), writes))
    return found


def create() -> App:
    """MLflow's application behind the logins of the environment."""
    from mlflow.server.fastapi_app import app  # noqa: PLC0415 - it starts MLflow

    return Logins(app, logins_of(os.environ))


def _changes_nothing(method: str, path: str) -> bool:
    return method in SAFE or (method == "POST" and QUESTION.fullmatch(path) is not None)


async def _refuse(send: Send, status: int, message: bytes, *, challenge: bool = False) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(message)).encode())]
    if challenge:
        headers.append((b"www-authenticate", b'Basic realm="MLflow"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": message})
