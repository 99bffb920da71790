"""What the registry names, resolved once: which views, keys and columns a request reads."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from feast import Entity, FeatureService, FeatureView
from feast.errors import FeatureNameCollisionError, FeatureServiceNotFoundException, FeatureViewNotFoundException
from feast.feature_view_projection import FeatureViewProjection
from feast.infra.online_stores.helpers import compute_table_id, compute_versioned_name
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.repo_config import RepoConfig
from feast.utils import _parse_feature_ref

from beacon_core.domain.text import close_match
from beacon_core.feature_store.materialization import last_end
from beacon_core.feature_store.stored_view import UNDATED
from beacon_core.platform import clock
from beacon_feature_serving.catalog.keys import key_reader
from beacon_feature_serving.catalog.plans import LookupPlan, ViewRead
from beacon_feature_serving.errors import feast_error, from_feast_error

# A client that sends ever new lists of features must not fill the memory.
MOST_PLANS = 1024

ObjectT = TypeVar("ObjectT")


class RequestedFeatures(NamedTuple):
    """Features requested of one view, and how the view is called in full feature names."""

    projection: FeatureViewProjection
    columns: list[str]


class Catalog:
    """One state of the registry; `plan` resolves a request against it and remembers the plan."""

    def __init__(self, proto: RegistryProto, config: RepoConfig) -> None:
        project = config.project
        self._config = config
        self._versioning = config.registry.enable_online_feature_view_versioning
        self._entities = _named(proto.entities, Entity.from_proto, project)
        self.views = _named(proto.feature_views, FeatureView.from_proto, project)
        self._services = _named(proto.feature_services, FeatureService.from_proto, project)
        self._plans: dict[tuple[str | None, tuple[str, ...], bool], LookupPlan] = {}

    def plan(self, service: str | None, features: Sequence[str], full_names: bool) -> LookupPlan:
        """Resolve a feature service, or a list of `view:feature`; raises `FeastResponseError`."""
        key = (service, () if service else tuple(features), full_names)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._resolve(service, features, full_names)
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def resolve_services(self) -> None:
        """Resolve every feature service now, so that no request waits; one for a broken service gets the error."""
        for name in self._services:
            with contextlib.suppress(Exception):
                self.plan(name, (), full_names=False)

    def materialized(self) -> dict[str, float]:
        """When each view's last materialization ended, in seconds since the epoch; views without one are left out."""
        ends = {name: last_end(view, clock.now()) for name, view in self.views.items()}
        return {name: end.timestamp() for name, end in ends.items() if end is not None}

    def _resolve(self, service: str | None, features: Sequence[str], full_names: bool) -> LookupPlan:
        requested = self._of_service(service) if service else self._of_list(features)
        reads = tuple(self._read(each) for each in requested)
        keys = tuple(dict.fromkeys(key for read in reads for key in read.keys))
        titles = [
            f"{each.projection.name_to_use()}__{column}" if full_names else column
            for each in requested
            for column in each.columns
        ]
        counts = Counter(titles)
        if len(counts) < len(titles):
            refs = [f"{each.projection.name_to_use()}:{column}" for each in requested for column in each.columns]
            twice = [ref for ref, title in zip(refs, titles, strict=True) if counts[title] > 1]
            raise from_feast_error(FeatureNameCollisionError(twice, full_names), "features")
        entities = [self._entities[name] for read in reads for name in read.view.entities]
        aliases = {entity.name: entity.join_key for entity in entities} | {key: key for key in keys}
        versions = {
            each.projection.name_to_use(): read.view.current_version_number or 0
            for each, read in zip(requested, reads, strict=True)
        }
        return LookupPlan(reads, (*keys, *titles), keys, aliases, tuple(versions.items()))

    def _of_service(self, name: str) -> list[RequestedFeatures]:
        service = self._services.get(name)
        if service is None:
            raise from_feast_error(FeatureServiceNotFoundException(name, self._config.project), "feature_service")
        return [
            RequestedFeatures(each, [field.name for field in each.features])
            for each in service.feature_view_projections
        ]

    def _of_list(self, refs: Sequence[str]) -> list[RequestedFeatures]:
        requested: dict[str, RequestedFeatures] = {}
        for ref in refs:
            try:
                view_name, version, feature = _parse_feature_ref(ref)
            except ValueError as error:
                raise feast_error("invalid_body", str(error), "features") from error
            if version is not None:
                raise feast_error("invalid_body", f"{ref}: pinned versions of a view are not served", "features")
            view = self._view(view_name)
            known = [field.name for field in view.features]
            if feature not in known:
                near = close_match(feature, known)
                hint = f"; did you mean {near}?" if near else ""
                raise feast_error("unknown_feature", f"Feature {feature} not found in {view_name}{hint}", "features")
            requested.setdefault(view_name, RequestedFeatures(view.projection, [])).columns.append(feature)
        return list(requested.values())

    def _view(self, name: str) -> FeatureView:
        view = self.views.get(name)
        if view is None:
            raise from_feast_error(FeatureViewNotFoundException(name, self._config.project), "features")
        return view

    def _read(self, requested: RequestedFeatures) -> ViewRead:
        view = self._view(requested.projection.name)
        mapped = requested.projection.join_key_map
        types = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
        join_keys = tuple(self._entities[name].join_key for name in view.entities)
        ttl = view.ttl or timedelta()
        return ViewRead(
            view=view,
            table=compute_table_id(self._config.project, view, self._versioning),
            prefix=compute_versioned_name(view, self._versioning),
            columns=tuple(requested.columns),
            keys=tuple(mapped.get(key, key) for key in join_keys),
            read_keys=key_reader({key: types[key] for key in join_keys}),
            ttl_seconds=ttl.total_seconds() or float("inf"),
            undated=UNDATED in view.tags,
        )


def _named(protos: Iterable[Any], build: Callable[[Any], ObjectT], project: str) -> dict[str, ObjectT]:
    return {proto.spec.name: build(proto) for proto in protos if proto.spec.project == project}
