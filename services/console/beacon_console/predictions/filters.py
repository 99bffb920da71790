"""The filters of the list of predictions, in its address: read, checked, and written again."""

from typing import NamedTuple

from flask import request

from beacon_console.parameters import query_amount, query_choice, query_text, query_time
from beacon_core.data.prediction_log.log_pages import LogFilter, LogPosition
from beacon_core.domain.entity_key import LONGEST_KEY, EntityKeyError, key_text, parse_key
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.ids import is_client_id
from beacon_core.domain.pins import NAME
from beacon_core.domain.product import Entity
from beacon_core.domain.times import read_time

NAMES = ("since", "until", "version", "entity", "out_of_range", "actual", "error_above")
ANY, YES, NO = "", "yes", "no"
BOTH_WAYS: dict[str, bool | None] = {ANY: None, YES: True, NO: False}
LONGEST_VERSION = 63


class Chosen(NamedTuple):
    """A filter, and the parameters of the address that make it: only those that are set."""

    wanted: LogFilter
    given: dict[str, str]


def read_filter(entity: Entity | None) -> Chosen:
    """Read it; BeaconError 422 names the parameter."""
    version = query_text("version", LONGEST_VERSION)
    if version is not None and not NAME.fullmatch(version):
        raise BeaconError("invalid_type", "version must be a model version, such as 12.", "version")
    wanted = LogFilter(
        since=query_time("since"),
        until=query_time("until"),
        version=version,
        entity=_entity(entity),
        is_out_of_range=BOTH_WAYS[query_choice("out_of_range", tuple(BOTH_WAYS), ANY)],
        has_actual=BOTH_WAYS[query_choice("actual", tuple(BOTH_WAYS), ANY)],
        error_above=query_amount("error_above"),
    )
    if wanted.error_above is not None and wanted.has_actual is False:
        raise BeaconError("invalid_type", "error_above is of predictions with an actual.", "error_above")
    given = {name: request.args.get(name, "").strip() for name in NAMES}
    return Chosen(wanted, {name: text for name, text in given.items() if text})


def _entity(entity: Entity | None) -> str | None:
    """The key as the log has it: 007 is 7 where it is a number."""
    text = query_text("entity", LONGEST_KEY)
    if text is None or entity is None:
        return text
    try:
        return key_text(parse_key(entity, text))
    except EntityKeyError as error:
        raise BeaconError("invalid_type", f"entity: {error}.", "entity") from error


def read_position() -> LogPosition | None:
    """Where the page begins, `TIME,ID`; None at the newest prediction. BeaconError 422 for anything else."""
    text = query_text("after", 128)
    if text is None:
        return None
    time, _, name = text.partition(",")
    try:
        if is_client_id(name):
            return LogPosition(read_time(time), name)
    except ValueError:
        pass
    raise BeaconError("invalid_type", "after must be TIME,ID, as the link to the next page has it.", "after")


def position_text(position: LogPosition) -> str:
    """The position as `read_position` reads it, without a sign that an address would change."""
    return f"{position.time:%Y-%m-%dT%H:%M:%S.%f}Z,{position.id}"
