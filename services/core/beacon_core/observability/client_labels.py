"""The metric labels of clients: those of API keys are few by their file, and an issuer may name any number."""

from beacon_core.domain.token_clients import OTHER, PREFIX

MOST_LABELS = 100


class ClientLabels:
    """Gives the first so many clients of an issuer a label of their own, and all others one together."""

    def __init__(self) -> None:
        self._own: set[str] = set()

    def of(self, client: str) -> str:
        """The label of a client."""
        if not client.startswith(PREFIX) or client in self._own:
            return client
        if len(self._own) >= MOST_LABELS:
            return OTHER
        self._own.add(client)
        return client
