"""The bound of a body before it is parsed: parsed values take many times the memory of their text."""

from beacon_core.domain.errors import BeaconError

# The values of larger bodies are counted first.
COUNTED_BYTES = 256 << 10
MAX_VALUES = 20_000
VALUES_PER_ROW = 40


def check_values(body: bytes, rows: int = 1, values_per_row: int = VALUES_PER_ROW, separators: bytes = b",") -> None:
    """Raise BeaconError `body_too_large` for a large body with more values than so many rows can have.

    Each byte of `separators` parts one value from the next.
    """
    if len(body) > COUNTED_BYTES:
        values = sum(body.count(separator) for separator in separators)
        if values > max(MAX_VALUES, values_per_row * rows):
            raise BeaconError("body_too_large", "the body has more values than the largest batch")
