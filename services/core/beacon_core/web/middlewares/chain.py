"""How middlewares become one handler: composed once, at the start."""

from collections.abc import Callable, Iterable

from beacon_core.web.http import Handler

Middleware = Callable[[Handler], Handler]


def compose(middlewares: Iterable[Middleware], handler: Handler) -> Handler:
    """Put `middlewares` around `handler`: the first is the outermost, sees a request first and its response last."""
    for middleware in reversed(list(middlewares)):
        handler = middleware(handler)
    return handler


def not_needed(handler: Handler) -> Handler:
    """The middleware in place of one that this process has no use for: it leaves nothing in the way."""
    return handler
