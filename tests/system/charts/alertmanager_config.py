"""Alertmanager's configuration in rendered charts."""

from typing import Any

SECRETS = "/etc/alertmanager/secrets"


def config_of(documents: list[dict[str, Any]], name: str = "beacon-alertmanager-config") -> dict[str, str]:
    """The files of a ConfigMap, by name."""
    found: dict[str, str] = next(
        item["data"] for item in documents if (item["kind"], item["metadata"]["name"]) == ("ConfigMap", name)
    )
    return found
