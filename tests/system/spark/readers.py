"""Run in a service's environment: what the readers of the log answer, by the engine of the settings, as pickled bytes.

python readers.py OUT
"""

import pickle
import sys
from datetime import timedelta
from pathlib import Path

from beacon_core.data.evidence import EVERYTHING
from beacon_core.data.prediction_log import partitions, traffic
from beacon_core.data.prediction_log.labels import labelled_predictions
from beacon_core.data.prediction_log.promotion_evidence import newest_labelled, realised_error
from beacon_core.data.prediction_log.reading import open_log
from beacon_core.data.watermarks import Watermark
from beacon_core.domain.policy import Evidence
from beacon_core.platform.engine import open_engine
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_retraining.data.labels import read_labels

settings = load_settings()
product = load_product(settings.product)
found = {}
with open_engine(settings, "test") as jobs:
    engine = open_log(settings, jobs=jobs)
    found["engine"] = type(jobs).__name__
    found["training set"] = read_labels(engine, product)
    with engine.connect() as connection:
        found["versions"] = traffic.versions(connection)
        found["last"] = last = found["versions"][0].last
        found["traffic"] = traffic.by_hour(connection, last, 6)
        found["count"] = traffic.count(connection), traffic.count(connection, "1")
        for evidence in (EVERYTHING, Evidence("keyed")):
            batches = list(labelled_predictions(connection, evidence))
            found[f"labels {evidence.clients}"] = sorted(
                (one for rows in batches for one in rows), key=lambda one: one.id
            )
            for moment in (None, last - timedelta(hours=1)):
                changed = partitions.changed_partitions(connection, Watermark(moment, moment), evidence)
                found[f"changed {evidence.clients} {moment}"] = sorted(changed.partitions)
    since = last - timedelta(hours=3)
    found["newest"] = sorted(newest_labelled(engine, EVERYTHING, since, 50), key=str)
    found["error"] = realised_error(engine, EVERYTHING, "1", since, last)
    engine.dispose()
Path(sys.argv[1]).write_bytes(pickle.dumps(found))
