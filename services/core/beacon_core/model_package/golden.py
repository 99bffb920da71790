"""Sends a golden request of a package to a server, and compares the response with the package's answer."""

import json
import math
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from beacon_core.model_package.manifest import GoldenRequest, Manifest

Answer = dict[str, Any]


def post_features(
    url: str, features: Mapping[str, float], timeout: float, headers: Mapping[str, str] | None = None
) -> Answer:
    """POST the features to a prediction route and return its JSON, or `status` and `body` of an error.

    `timeout` is in seconds. Raises OSError where there is no response.
    """
    sent = {"Content-Type": "application/json", **(headers or {})}
    body = json.dumps({"features": features}).encode()
    request = urllib.request.Request(url, body, sent)  # noqa: S310 - the operator's address
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            found: Answer = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return {"status": error.code, "body": error.read(1000).decode(errors="replace")}
    except ValueError as error:
        return {"status": 200, "body": f"is not JSON: {error}"}
    return found if isinstance(found, dict) else {"status": 200, "body": repr(found)[:1000]}


def golden_features(manifest: Manifest, golden: GoldenRequest) -> dict[str, float]:
    """A golden row as the features of a request."""
    return {facts.name: value for facts, value in zip(manifest.features, golden.row, strict=True)}


def find_mismatch(answer: Answer, manifest: Manifest, golden: GoldenRequest) -> str:
    """How a response differs from the package's golden answer; empty when it does not."""
    model, value = answer.get("model"), answer.get("prediction")
    version = model.get("version") if isinstance(model, dict) else None
    if version != manifest.version:
        return f"version {version} answers, not {manifest.version}: {answer}"
    if not isinstance(value, float | int) or not math.isclose(
        value, golden.prediction, abs_tol=max(manifest.golden_tolerance, 1e-6)
    ):
        return f"{golden_features(manifest, golden)}: {value}, not {golden.prediction}"
    return ""
