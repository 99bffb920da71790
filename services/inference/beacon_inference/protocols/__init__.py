"""The protocols: each parses a request into prediction inputs and makes the answer from records."""
