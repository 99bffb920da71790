"""The middlewares of a request, one module each; `beacon_core.web.asgi` puts them in order.

A middleware takes the handler behind it and returns one that does its own part before, after or around that one. Those
with nothing to do after the answer are plain functions that return what the next one returns: a coroutine for each
would cost every request more than the work in it.
"""
