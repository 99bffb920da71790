"""Which predictions are logged where policy.yaml keeps a share of them alone (`logging.share`)."""

import zlib

WHOLE = 1 << 32


def is_logged(share: float, prediction_id: str, entity: str | None) -> bool:
    """Whether a prediction is among the share that is logged: the same answer everywhere and always.

    Of an entity all predictions are logged, or none: an actual belongs to an entity's last prediction before it, and
    would go to an earlier one where that is missing.
    """
    return share >= 1 or zlib.crc32((prediction_id if entity is None else entity).encode()) < share * WHOLE
