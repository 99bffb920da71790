"""The serving skeleton that inference, feature serving and the console share.

Hot routes are plain ASGI functions; everything else is a Flask app behind them in the same process.
Around both stands one list of middlewares (asgi.py): ids, limits, errors as JSON, spans, metrics and the access log.
Metrics have a port of their own.
"""
