"""Wrong tokens, slowed down: by the address that they come from, and overall."""

import hmac
import math
import threading
import time

from beacon_core.domain.errors import BeaconError
from beacon_core.domain.quotas import Account

ADDRESS_BURST, ADDRESS_RATE = 5, 1 / 30
ALL_BURST, ALL_RATE = 30, 1 / 2
MOST_ADDRESSES = 10_000
"""Addresses that are known at a time; beyond, the one that was wrong longest ago is forgotten."""


class Attempts:
    """Judges tokens: five wrong ones of an address and thirty overall pass at once, and then one in 30 and 2 seconds.

    An address that has to wait counts for nothing overall, so that it keeps nobody else out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._addresses: dict[str, Account] = {}
        self._all = Account()

    def judge(self, address: str, given: str, token: str) -> None:
        """Return where the token is the right one; raises BeaconError `unauthorized` and `too_many_attempts`."""
        now = time.monotonic()
        with self._lock:
            mine = self._addresses.get(address) or Account()
            wait = max(
                mine.seconds_to_wait(1, ADDRESS_RATE, now, ADDRESS_BURST),
                self._all.seconds_to_wait(1, ALL_RATE, now, ALL_BURST),
            )
            if wait:
                seconds = math.ceil(wait)
                rule = f"Too many wrong tokens. Nothing was decided. Try again in {seconds} s."
                raise BeaconError("too_many_attempts", rule, "token", retry_after=seconds)
            if hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
                return
            mine.take(1, ADDRESS_RATE, now)
            self._all.take(1, ALL_RATE, now)
            self._addresses.pop(address, None)
            if len(self._addresses) >= MOST_ADDRESSES:
                del self._addresses[next(iter(self._addresses))]
            self._addresses[address] = mine
        raise BeaconError("unauthorized", "The token is not the right one. Nothing was decided.", "token")
