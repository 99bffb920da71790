"""Routing: which route a request is for, and what each hot route asks of its requests."""

import re
from collections.abc import Awaitable, Iterable

from beacon_core.domain.errors import BeaconError
from beacon_core.web.http import Handler, Request, Response, Route, require_content_type
from beacon_core.web.middlewares.chain import Middleware


def match_route(routes: Iterable[Route], otherwise: Route) -> Middleware:
    """Name the request's route among `routes`, or else `otherwise`; a template's `{name}` matches one path segment."""
    exact: dict[str, Route] = {}
    patterns: list[tuple[re.Pattern[str], Route]] = []
    for route in routes:
        if "{" in route.template or "<" in route.template:
            patterns.append((_pattern(route.template), route))
        else:
            exact[route.template] = route

    def by_pattern(request: Request) -> Route:
        for pattern, route in patterns:
            match = pattern.fullmatch(request.scope["path"])
            if match is not None:
                request.path = match.groupdict()
                return route
        return otherwise

    def middleware(handler: Handler) -> Handler:
        def handle(request: Request) -> Awaitable[Response]:
            route = exact.get(request.scope["path"]) or by_pattern(request)
            request.route = route
            request.endpoint = route.template
            return handler(request)

        return handle

    return middleware


def call_route(request: Request) -> Awaitable[Response]:
    """Hand the request to its route: the innermost handler."""
    return request.route.handler(request)


def allow_methods(route: Route) -> Middleware:
    """Refuse other methods than the route's with 405."""
    methods = frozenset(route.methods)

    def middleware(handler: Handler) -> Handler:
        def handle(request: Request) -> Awaitable[Response]:
            if request.method not in methods:
                raise BeaconError("method_not_allowed", f"{route.template} takes {route.method}")
            return handler(request)

        return handle

    return middleware


def check_content_type(route: Route) -> Middleware:
    """Refuse a body of a type that the route does not take with 415."""

    def middleware(handler: Handler) -> Handler:
        def handle(request: Request) -> Awaitable[Response]:
            require_content_type(request, route.content_types)
            return handler(request)

        return handle

    return middleware


def _pattern(template: str) -> re.Pattern[str]:
    """Of a hot route's template, or of a rule of Flask."""
    return re.compile(re.sub(r"\\{(\w+)\\}|<(\w+)>", r"(?P<\1\2>[^/]+)", re.escape(template)))
