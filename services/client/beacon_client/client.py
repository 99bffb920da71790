"""The client: inference for predictions, the console for the log and for drift."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any

from beacon_client.drift import DriftReport
from beacon_client.frames import frame, rows_of, table
from beacon_client.http_service import HttpService, ServiceError

BATCH = 500
"""Rows per request; a server may take fewer (`BEACON_MAX_BATCH_ROWS`)."""
EXPLAINED = 16
"""Rows per request of explanations, which take longer."""
PAGE = 1000
TIMES = ("time", "observed_at")


class Beacon:
    """A running Beacon. `api_key` is sent to inference; `console` is needed for the log and for drift."""

    def __init__(
        self,
        inference: str,
        console: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
    ) -> None:
        self._inference = HttpService(inference, {"X-API-Key": api_key} if api_key else {}, timeout, retries)
        self._console = None if console is None else HttpService(console, {}, timeout, retries)

    def features(self) -> list[str]:
        """The names of the product's features, in its order."""
        return list(self._inference.get("/openapi.json")["components"]["schemas"]["Features"]["properties"])

    def predict_rows(self, data: Any, *, entity: list[str] | None = None, batch: int = BATCH) -> list[dict[str, Any]]:
        """The answers as dictionaries, one per row; see `predict`."""
        keys = entity or []
        found: list[dict[str, Any]] = []
        for start, part in _parts(rows_of(data), batch):
            body = {"rows": [_request(row, keys) for row in part]}
            found += self._batch("/v1/predict/batch", body, start)["predictions"]
        return found

    def predict(self, data: Any, *, entity: list[str] | None = None, batch: int = BATCH) -> Any:
        """A frame with the index of `data`: prediction, low, high, prediction_id, imputed, out_of_range, model_version.

        The columns of `data` are features; those in `entity` are its key, whose features are looked up.
        """
        rows = [
            {
                "prediction": row["prediction"],
                "low": row["interval"]["low"],
                "high": row["interval"]["high"],
                "prediction_id": row["prediction_id"],
                "imputed": row["imputed"],
                "out_of_range": row["out_of_range"],
                "model_version": row["model"]["version"],
            }
            for row in self.predict_rows(data, entity=entity, batch=batch)
        ]
        return frame(rows, index=getattr(data, "index", None))

    def explain(self, data: Any) -> Any:
        """A frame with the index of `data`: what each feature adds, beside `base` and `prediction`."""
        rows = []
        for start, part in _parts(rows_of(data), EXPLAINED):
            body = {"rows": [{"features": row} for row in part]}
            for each in self._batch("/v1/explain", body, start)["explanations"]:
                added = {item["feature"]: item["contribution"] for item in each["contributions"]}
                rows.append({"prediction": each["prediction"], "base": each["base"], **added})
        return frame(rows, index=getattr(data, "index", None))

    def send_actuals(self, data: Any, *, batch: int = BATCH) -> int:
        """Send true values: rows with `prediction_id` and `value`. How many were sent."""
        rows = rows_of(data)
        for start, part in _parts(rows, batch):
            self._batch("/v1/actuals", {"actuals": part}, start)
        return len(rows)

    def prediction_rows(
        self, since: Any = None, until: Any = None, *, most: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """The log's rows as dictionaries, the oldest first; see `predictions`."""
        end = datetime.now(UTC) + timedelta(minutes=5) if until is None else until
        asked = {"until": _moment(end)} | ({} if since is None else {"since": _moment(since)})
        after: str | None = None
        left = most
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self._of_console("/api/predictions", asked | {"limit": size} | ({"after": after} if after else {}))
            yield from page["predictions"]
            left = None if left is None else left - len(page["predictions"])
            after = page["next"]
            if after is None:
                return

    def predictions(self, since: Any = None, until: Any = None, *, most: int | None = None) -> Any:
        """The predictions of [since, until) with their actuals, as a pyarrow.Table; of the last day by default.

        Each feature is a column `features.NAME`, null where it had no value.
        """
        rows = list(self.prediction_rows(since, until, most=most))
        names = sorted({name for row in rows for name in row["features"]})
        flat = [
            {name: value for name, value in row.items() if name != "features"}
            | {f"features.{name}": row["features"].get(name) for name in names}
            for row in rows
        ]
        return table(flat, TIMES)

    def drift(self, period: str = "newest") -> DriftReport:
        """One drift run, the newest by default."""
        found = self._of_console(f"/api/drift/{period}")
        return DriftReport(found["run"], found["results"], found["figures"])

    def drift_runs(self, most: int = 100) -> Any:
        """A frame of the newest drift runs, the newest first: period, created_at, state, rows."""
        runs = self._of_console("/api/drift", {"limit": most})["runs"]
        return frame([{name: value for name, value in run.items() if name != "summary"} for run in runs])

    def close(self) -> None:
        """Close the connections."""
        for connection in (self._inference, self._console):
            if connection is not None:
                connection.close()

    def __enter__(self) -> "Beacon":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _of_console(self, path: str, parameters: dict[str, Any] | None = None) -> Any:
        if self._console is None:
            raise ValueError("the log and drift need the console's address: Beacon(inference, console=ADDRESS)")
        return self._console.get(path, parameters)

    def _batch(self, path: str, body: Any, start: int) -> Any:
        """The answer; an error says which rows of the whole were sent."""
        try:
            return self._inference.post(path, body)
        except ServiceError as error:
            if start:
                error.add_note(f"its rows are counted from row {start} of the data")
            raise


def _parts(rows: list[dict[str, Any]], size: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


def _request(row: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    features = {name: value for name, value in row.items() if name not in keys}
    if not keys:
        return {"features": features}
    found: dict[str, Any] = {"entity": {name: row[name] for name in keys if name in row}}
    return found | ({"features": features} if features else {})


def _moment(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
