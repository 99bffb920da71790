"""What the write routes take: bodies and parameters, each rule with the field that broke it."""

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from feast.data_source import PushMode
from flask import request

from beacon_core.domain.integers import whole_or_float
from beacon_core.domain.times import error_code, read_past_time
from beacon_core.web.bounds import VALUES_PER_ROW
from beacon_core.web.flask_app import current_request
from beacon_core.web.http import JSON, require_content_type
from beacon_feature_serving.errors import validation_error
from beacon_feature_serving.json_body import decode_body

FLAGS = {"": False, "0": False, "false": False, "1": True, "true": True}
PUSH_MODES = {mode.name.lower(): mode for mode in PushMode}
BodyT = TypeVar("BodyT")
_decode = msgspec.json.Decoder(float_hook=whole_or_float).decode


class PushBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of /push. `transform_on_write` makes no difference: views that transform are not served."""

    push_source_name: str
    df: dict[str, Any]
    to: str = "online"
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class WriteBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of /write-to-online-store."""

    feature_view_name: str
    df: dict[str, Any]
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class MaterializeBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of /materialize, and of /materialize-incremental, which has no start."""

    start_ts: str | None = None
    end_ts: str | None = None
    feature_views: list[str] | None = None
    disable_event_timestamp: bool = False
    full_feature_names: bool = False
    version: str | None = None


def read_body(kind: type[BodyT], rows: int = 1, values_per_row: int = VALUES_PER_ROW) -> BodyT:
    """Read the body, of at most so many rows; a member that is null is not given."""
    require_content_type(current_request(), frozenset({JSON}))

    def decode(text: bytes) -> BodyT:
        found = _decode(text)
        given = {name: v for name, v in found.items() if v is not None} if isinstance(found, dict) else found
        return msgspec.convert(given, kind)

    return decode_body(request.get_data(), decode, rows, values_per_row)


def read_materialize_body() -> MaterializeBody:
    """Read the body, and refuse each parameter that Feast knows and this server would have to ignore."""
    if read_flag("force"):
        rule = "there is nothing to force: a materialization that was killed does not block the next one"
        raise validation_error("invalid_body", rule, ("query", "force"))
    body = read_body(MaterializeBody)
    if body.version is not None:
        raise validation_error("invalid_body", "pinned versions of a view are not served", ("body", "version"))
    if body.full_feature_names:
        rule = "the stores name features by their view already"
        raise validation_error("invalid_body", rule, ("body", "full_feature_names"))
    return body


def read_flag(name: str) -> bool:
    """Read a parameter of the query that is true or false."""
    text = request.args.get(name, "").lower()
    if text not in FLAGS:
        raise validation_error("invalid_type", f"{name} must be true or false", ("query", name))
    return FLAGS[text]


def read_moment(text: str | None, name: str, now: datetime) -> datetime:
    """Read a time, at most `now`: a later one would let the next materialization skip the rows until then."""
    if text is None:
        raise validation_error("invalid_body", f"{name} is needed", ("body", name))
    try:
        return min(now, read_past_time(text, now, UTC))
    except ValueError as error:
        raise validation_error(error_code(error), f"{name} {error}", ("body", name)) from error
