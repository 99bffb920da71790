"""The places that serve, one folder an adapter."""
