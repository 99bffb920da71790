"""The service's metrics, with their label values resolved once."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry

from beacon_core.observability import metrics
from beacon_core.platform.settings import Settings
from beacon_feature_serving.rows import STATUSES


class Instruments:
    """What feature serving counts."""

    def __init__(self, registry: CollectorRegistry, settings: Settings) -> None:
        lookups = metrics.counter(metrics.FEATURE_LOOKUPS, registry)
        self._lookups = {status: lookups.labels(status) for status in STATUSES}
        self._ages = metrics.histogram(metrics.FEATURE_AGE, registry)
        self.store_seconds = metrics.histogram(metrics.STORE_SECONDS, registry)
        self.registry_failures = metrics.counter(metrics.REGISTRY_FAILURES, registry)
        self._materialized = metrics.gauge(metrics.FEATURES_MATERIALIZED, registry)
        build = metrics.gauge(metrics.BUILD_INFO, registry)
        build.labels("feature-serving", settings.build_version, settings.build_revision).set(1)

    def responded(self, statuses: Mapping[str, int], ages: Iterable[float]) -> None:
        """Count the values of one response by status, and how old its rows were, in seconds."""
        for status, count in statuses.items():
            self._lookups[status].inc(count)
        for age in ages:
            self._ages.observe(age)

    def materialized(self, ends: dict[str, float]) -> None:
        """Show when each view was last materialized."""
        for view, end in ends.items():
            self._materialized.labels(view).set(end)
