"""The serving skeleton that inference, feature serving and the console share.

Hot routes are plain ASGI functions; everything else is a Flask app behind them in the same process. Around both, in one
place: request ids, W3C trace context, body limits, errors as JSON, metrics, the access log and the metrics port.
"""
