"""The program: settings, signals, ports and exit status around the prediction log's process."""

import logging
import signal
import threading

from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.exit_statuses import REFUSED, TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.observability.logs import configure_logging
from beacon_core.observability.metrics_port import MetricsPort
from beacon_core.platform.locks import BusyError
from beacon_core.platform.settings import Settings, clean_credentials, load_settings
from beacon_prediction_log import garbage
from beacon_prediction_log.service import running

log = logging.getLogger("beacon.prediction_log")

ENDS = (signal.SIGTERM, signal.SIGINT)


def run() -> int:
    """Run until SIGTERM; status 1, after one line, where the settings or product.yaml break a rule."""
    stopping = threading.Event()

    def stop(*_: object) -> None:
        for number in ENDS:  # a second one must not end what ships the rest
            signal.signal(number, signal.SIG_IGN)
        stopping.set()

    for number in ENDS:
        signal.signal(number, stop)
    garbage.look_between_chunks()
    configure_logging("prediction-log", Settings().build_version, "INFO")
    try:
        clean_credentials()
        settings = load_settings()
        configure_logging("prediction-log", settings.build_version, settings.log_level)
        with running(settings) as service:
            checks = {"/livez": lambda: service.is_alive, "/readyz": lambda: service.is_alive}
            port = MetricsPort(settings.host, settings.prediction_log_metrics_port, service.registry, checks)
            port.start()
            log.info("the prediction log is shipped from %s", settings.spool_dir)
            stopping.wait()
            log.info("stopping: what is in the spool is shipped until inference has ended")
        port.stop()
    except ConfigurationError as error:
        log.critical("%s", message_of(error))
        return REFUSED
    except (BusyError, OSError) as error:
        log.critical("%s", message_of(error))
        return TRY_AGAIN
    return 0
