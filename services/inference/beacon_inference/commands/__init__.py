"""Commands for people: clients of the API."""
