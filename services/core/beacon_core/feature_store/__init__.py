"""Feast, as retraining, feature serving and their jobs use it; feature_repo/ configures it.

A process imports this package before Feast itself. Feast instruments its classes with typeguard when it is imported,
which takes twice as long as the rest of its import together. The checks are for those who write definitions by hand.
"""

import contextlib
from typing import Any


def _unchecked(target: Any = None, **_options: Any) -> Any:
    """The decorator `typechecked` that changes nothing, with options or without."""
    return _unchecked if target is None else target


with contextlib.suppress(ImportError):  # a service without Feast needs the names alone
    import typeguard

    typeguard.typechecked = _unchecked
