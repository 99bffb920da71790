"""Quotas: what a client may send, by a clock that the test gives; keys that change while they count."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support.api_keys import entry, write_keys
from support.settings import Settings

from beacon_core.domain.api_keys import new_key
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.quotas import DAY_SECONDS, Meter, Quota
from beacon_core.platform import clock
from beacon_core.web.access import AccessControl
from beacon_core.web.http import Request

NOON = 20_000.5 * DAY_SECONDS
KEY, SECOND = new_key(), new_key()


def taken(meter: Meter, rows: int, now: float, moment: float = NOON) -> float:
    """How long to wait for so many rows; 0 where they were taken."""
    excess = meter.take_rows(rows, now, moment)
    return 0.0 if excess is None else excess.wait


@pytest.mark.parametrize("rate", [0.001, 0.3, 1.0, 3.0, 10.0, 7_919.0, 1e9])
@pytest.mark.parametrize("start", [0.0, 1e7 + 0.1])
def test_a_rate_lets_one_second_pass_at_once_and_then_no_more_than_the_rate(rate: float, start: float) -> None:
    meter = Meter(Quota(requests_per_second=rate))
    burst = min(int(max(rate, 1)), 10_000)
    at_once = sum(meter.take_request(start, NOON) is None for _ in range(burst))
    assert at_once == burst
    if rate > 10_000:
        return
    excess = meter.take_request(start, NOON)
    assert excess is not None
    assert excess[:2] == ("requests_per_second", rate)
    assert excess.wait == pytest.approx((burst + 1 - max(rate, 1)) / rate, abs=1e-5)
    assert meter.take_request(start + excess.wait * 0.99 - 1e-5, NOON) is not None
    passed = sum(meter.take_request(start + step / rate / 10, NOON) is None for step in range(10, 1001))
    assert 99 <= passed <= 101


def test_a_batch_larger_than_a_second_passes_when_the_bucket_is_full_and_is_paid_for() -> None:
    meter = Meter(Quota(rows_per_second=10))
    assert taken(meter, 1, 100.0) == 0
    assert taken(meter, 50, 100.0) == pytest.approx(0.1)
    assert taken(meter, 50, 100.1) == 0
    assert taken(meter, 1, 100.2) == pytest.approx(4.0)
    assert taken(meter, 1, 104.0) > 0
    assert taken(meter, 1, 104.21) == 0


def test_what_is_rejected_takes_nothing() -> None:
    meter = Meter(Quota(rows_per_second=10, rows_per_day=20))
    assert taken(meter, 10, 5.0) == 0
    for _ in range(100):
        assert taken(meter, 10, 5.0) == pytest.approx(1.0)
    assert taken(meter, 10, 6.0) == 0, "neither of the second nor of the day"
    assert taken(meter, 1, 60.0) == DAY_SECONDS / 2, "now the day is used up"


def test_a_day_begins_at_midnight_and_only_once() -> None:
    meter = Meter(Quota(rows_per_day=5))
    midnight = 20_001 * DAY_SECONDS
    assert taken(meter, 5, 0.0, midnight - 1) == 0
    assert taken(meter, 1, 0.0, midnight - 1) == 1
    assert taken(meter, 3, 0.0, midnight) == 0
    # The clock is set back over midnight: neither day begins anew.
    assert taken(meter, 3, 0.0, midnight - 1) == DAY_SECONDS + 1
    assert taken(meter, 2, 0.0, midnight - 1) == 0
    assert taken(meter, 1, 0.0, midnight) == DAY_SECONDS
    # A clock that was far ahead, and is set right, must not shut the client out until then.
    assert taken(meter, 5, 0.0, midnight + 400 * DAY_SECONDS) == 0
    assert taken(meter, 5, 0.0, midnight) == 0


def test_more_rows_than_a_day_has_never_pass() -> None:
    meter = Meter(Quota(rows_per_day=5))
    assert taken(meter, 6, 0.0) == float("inf")
    assert taken(meter, 5, 0.0) == 0


class Clients:
    """Requests to a service whose clock the test sets; each begins at `now`."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.moment = 1000.0, NOON
        monkeypatch.setattr(clock, "timestamp", lambda: self.moment)
        self.registry = CollectorRegistry()
        scopes = frozenset({"predict", "actuals"})
        settings = Settings(api_keys_file=file)
        self.access = AccessControl(settings, scopes, ("api-key", "own"), self.registry)  # type: ignore[arg-type]

    def ask(self, key: str, rows: int = 0) -> tuple[str, int | None]:
        """The error's code, and its seconds; empty where the request passes."""
        request = Request({"method": "POST", "headers": [(b"x-api-key", key.encode())]})
        request.started = self.now
        try:
            self.access.admit(request, "predict")
            if rows:
                self.access.take_rows(request, rows)
        except BeaconError as error:
            return error.code, error.retry_after
        return "", None

    def rejections(self, quota: str, client: str = "shop") -> float | None:
        """The metric."""
        labels = {"client": client, "quota": quota}
        return self.registry.get_sample_value("beacon_client_quota_rejections_total", labels)


def shop(key: str = KEY, **quotas: Any) -> dict[str, Any]:
    return entry("shop", key, "predict") | quotas


def test_clients_have_quotas_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = new_key()
    file = write_keys(tmp_path / "keys.json", shop(requests_per_second=0.5), entry("lab", other, "predict"))
    clients = Clients(file, monkeypatch)
    assert clients.rejections("requests_per_second") == 0, "so that the first rejection is a step"
    assert clients.rejections("rows_per_day") is None
    assert clients.ask(KEY) == ("", None)
    assert clients.ask(KEY) == ("quota_exceeded", 2)
    clients.now += 0.5
    assert clients.ask(KEY) == ("quota_exceeded", 2), "whole seconds, rounded up"
    for key in (other, "own", "wrong", ""):
        assert {clients.ask(key, 1000) for _ in range(50)} == {("", None)}
    assert clients.rejections("requests_per_second") == 2
    clients.now += 1.5
    assert clients.ask(KEY) == ("", None)


def test_two_keys_of_a_client_share_its_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_keys(tmp_path / "keys.json", shop(requests_per_day=2), shop(SECOND, requests_per_day=2))
    clients = Clients(file, monkeypatch)
    assert [clients.ask(key)[0] for key in (KEY, SECOND, KEY, SECOND)] == ["", "", "quota_exceeded", "quota_exceeded"]


def test_a_file_that_changes_gives_back_nothing_that_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quotas = {"rows_per_day": 10, "requests_per_second": 1}
    file = write_keys(tmp_path / "keys.json", shop(**quotas))
    clients = Clients(file, monkeypatch)
    assert clients.ask(KEY, 8) == ("", None)
    # The client changes its key.
    write_keys(file, shop(SECOND, **quotas))
    clients.access.refresh()
    assert clients.ask(SECOND) == ("quota_exceeded", 1)
    clients.now += 1
    assert clients.ask(SECOND, 3) == ("quota_exceeded", DAY_SECONDS // 2)
    # A larger quota counts what was taken, and a smaller one, too.
    write_keys(file, shop(SECOND, rows_per_day=12))
    clients.access.refresh()
    assert [clients.ask(SECOND, 2)[0] for _ in range(3)] == ["", "", "quota_exceeded"]
    write_keys(file, shop(SECOND, rows_per_day=1))
    clients.access.refresh()
    assert clients.ask(SECOND, 1)[0] == "quota_exceeded"
    assert clients.ask(SECOND, 2) == ("batch_too_large", None)
    # A bad file changes nothing.
    file.write_text("keys: {", encoding="utf-8")
    clients.access.refresh()
    assert clients.ask(SECOND, 1)[0] == "quota_exceeded"
    write_keys(file, shop(SECOND))
    clients.access.refresh()
    assert clients.ask(SECOND, 1000) == ("", None)
    assert clients.rejections("rows_per_day") == 5
