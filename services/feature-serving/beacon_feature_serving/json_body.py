"""JSON bodies of requests, with errors in the shape of Feast's server."""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from beacon_core.web.bounds import VALUES_PER_ROW, check_values
from beacon_feature_serving.errors import validation_error

BodyT = TypeVar("BodyT")
PATH_PARTS = re.compile(r"\w+")


def decode_body(
    body: bytes, decode: Callable[[bytes], BodyT], rows: int, values_per_row: int = VALUES_PER_ROW
) -> BodyT:
    """Decode a JSON body; raises `FeastResponseError` for one that is not of its type.

    BeaconError `body_too_large` for one with more values than so many rows have.
    """
    check_values(body, rows, values_per_row)
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        rule, _, path = str(error).partition(" - at `$")
        raise validation_error("invalid_type", rule, ("body", *PATH_PARTS.findall(path))) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise validation_error("invalid_json", f"the body is not JSON: {error}", ("body",)) from error
