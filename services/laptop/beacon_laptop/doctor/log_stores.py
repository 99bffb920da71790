"""Check of the prediction log's stores: whether one of them is away, and what waits for it."""

import re
import urllib.request
from collections.abc import Iterator

from beacon_core.domain import addresses
from beacon_core.platform.settings import Settings
from beacon_laptop.doctor.findings import Finding

ANSWER_SECONDS = 5.0
WAITING, FAILURES = "beacon_prediction_log_store_waiting", "beacon_prediction_log_store_failures_total"
MANY = 50_000
"""So many waiting predictions are more than a commit's worth."""
SAMPLE = re.compile(r'^(\w+)\{store="(\w+)"\} (\S+)$', re.MULTILINE)


def log_stores(settings: Settings, *, runs: bool) -> Iterator[Finding]:
    """Whether every store of the log takes what is shipped."""
    others = [name for name in settings.log_stores if name != settings.read_store]
    named = f"{settings.read_store} is read" + "".join(f", {name} gets a copy" for name in others)
    if not runs:
        yield Finding("log stores", "ok", named)
        return
    host = addresses.in_url(settings.host)
    try:
        with urllib.request.urlopen(
            f"http://{host}:{settings.prediction_log_metrics_port}/metrics", timeout=ANSWER_SECONDS
        ) as answer:
            found = {(name, store): float(value) for name, store, value in SAMPLE.findall(answer.read().decode())}
    except OSError:
        return  # the check of the services says that it does not answer
    for store in settings.log_stores:
        waiting, failures = found.get((WAITING, store), 0.0), found.get((FAILURES, store), 0.0)
        if waiting and (failures or waiting > MANY):
            told = f"{waiting:.0f} predictions wait for {store}, after {failures:.0f} failed attempts"
            text = f"{told}; they are safe in the spool"
            yield Finding("log stores", "warn", text, f"tail {settings.home / 'logs' / 'prediction-log.log'}")
        else:
            yield Finding("log stores", "ok", f"{store} takes what is shipped; {named}")
