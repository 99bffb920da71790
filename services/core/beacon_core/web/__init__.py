"""The serving skeleton that inference and feature serving share.

Hot routes are plain ASGI functions; everything else is a Flask app behind them in the same process. Around both stands
one list of middlewares (asgi.py): ids, limits, errors as JSON, spans, metrics, access log. Metrics have their own
port.
"""
