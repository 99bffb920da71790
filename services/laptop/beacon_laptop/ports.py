"""The ports of a laptop: each must be free, and an error names the setting that changes one."""

import errno
import socket

import psutil

from beacon_core.domain.masking import mask
from beacon_core.platform.settings import PREFIX, Settings

MOST_SHOWN = 80
PORTS: dict[str, str] = {
    "inference_port": "inference",
    "inference_metrics_port": "inference's metrics",
    "prediction_log_metrics_port": "the prediction log's metrics",
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
        move = f"set another port by {PREFIX}{setting.upper()}="
        if port in seen:
            problems.append(f"port {port} is set for both {seen[port]} and {use}; {move}")
        elif problem := port_problem(settings.host, port):
            stop = "stop it, or " if problem.startswith("is taken") else ""
            problems.append(f"port {port} ({use}) {problem}; {stop}{move}")
        seen.setdefault(port, use)
    if problems:
        raise PortError("\n".join(problems))


def holder_of(port: int) -> str | None:
    """The process that listens on the port, such as `python (pid 12: python -m http.server)`; None for a stranger's."""
    try:
        found = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    except (psutil.Error, OSError):
        return None
    pid = next((one.pid for one in found if one.laddr and one.laddr.port == port and one.pid), None)
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        return f"{process.name()} (pid {pid}: {mask(' '.join(process.cmdline()))[:MOST_SHOWN]})"
    except psutil.Error:
        return f"pid {pid}"


def port_problem(host: str, port: int) -> str | None:
    """Why nothing can listen on the port; None where something can."""
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
                return f"is taken by {holder_of(port) or 'another program'}"
            return f"cannot be opened on {host}: {error.strerror}"
    return None
