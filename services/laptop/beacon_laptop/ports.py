"""The ports of a laptop: each must be free, and an error names the setting that changes one."""

import errno
import socket

from beacon_core.platform.settings import PREFIX, Settings

PORTS: dict[str, str] = {
    "inference_port": "inference",
    "inference_metrics_port": "inference's metrics",
    "features_port": "feature-serving",
    "features_metrics_port": "feature-serving's metrics",
    "mlflow_port": "MLflow",
    "console_port": "the console",
    "console_metrics_port": "the console's metrics",
}
"""Setting -> what listens there."""


class PortError(ValueError):
    """A port cannot be used; the message names port, use and setting."""


def check_ports(settings: Settings) -> None:
    """Raise `PortError` with one line for every port that is taken, forbidden or set twice."""
    problems = []
    seen: dict[int, str] = {}
    for setting, use in PORTS.items():
        port: int = getattr(settings, setting)
        move = f"{PREFIX}{setting.upper()}=<another port> changes it"
        if port in seen:
            problems.append(f"port {port} is set for both {seen[port]} and {use}; {move}")
        elif problem := _problem(settings.host, port):
            problems.append(f"port {port} ({use}) {problem}; {move}")
        seen.setdefault(port, use)
    if problems:
        raise PortError("\n".join(problems))


def _problem(host: str, port: int) -> str | None:
    if not 1 <= port <= 65535:
        return "is not a port (1 to 65535)"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers bind: a port whose old connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "is taken by another program"
            return f"cannot be opened on {host}: {error.strerror}"
    return None
