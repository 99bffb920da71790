"""Sends a golden request of a package to a server, and compares the response with the package's answer."""

import json
import math
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from beacon_core.domain.feature import Feature
from beacon_core.domain.schema import Schema
from beacon_core.domain.value_rules import Value
from beacon_core.model_package.manifest import FeatureFacts, GoldenRequest, Manifest

Answer = dict[str, Any]
UNSEEN = "(unseen)"
"""A text that is no level of any package."""


def post_features(
    url: str, features: Mapping[str, Value], timeout: float, headers: Mapping[str, str] | None = None
) -> Answer:
    """POST the features to a prediction route and return its JSON, or `status` and `body` of an error.

    `timeout` is in seconds. Raises OSError where there is no response.
    """
    sent = {"Content-Type": "application/json", **(headers or {})}
    body = json.dumps({"features": features}).encode()
    request = urllib.request.Request(url, body, sent)  # noqa: S310 - the operator's address
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 - the operator's address
            found: Answer = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return {"status": error.code, "body": error.read(1000).decode(errors="replace")}
    except ValueError as error:
        return {"status": 200, "body": f"is not JSON: {error}"}
    return found if isinstance(found, dict) else {"status": 200, "body": repr(found)[:1000]}


def golden_features(manifest: Manifest, golden: GoldenRequest) -> dict[str, Value]:
    """A golden row as the features of a request: values as clients send them."""
    facts = zip(manifest.schema.features, manifest.features, golden.row, strict=True)
    values = {feature.name: package_value(feature, known, number) for feature, known, number in facts}
    return {name: value for name, value in values.items() if value is not None}


def package_value(feature: Feature, facts: FeatureFacts, number: float) -> Value | None:
    """The value of a number of the package's rows; a level that the package does not list is `UNSEEN`."""
    if facts.levels is None or number != number:  # noqa: PLR0124 - NaN
        return feature.to_value(number)
    place = int(number)
    return facts.levels[place] if place < len(facts.levels) else UNSEEN


def counts_ages(schema: Schema) -> bool:
    """Whether the model's answers change with the time of the request: then no golden answer can be compared."""
    return any("age" in feature.parts for feature in schema.features)


def golden_tolerance(manifest: Manifest) -> float:
    """How far an answer may be from the golden one: the package's tolerance, and what rounding takes."""
    return manifest.golden_tolerance + 10.0**-manifest.decimals


def find_mismatch(answer: Answer, manifest: Manifest, golden: GoldenRequest) -> str:
    """How a response differs from the package's golden answer; empty when it does not."""
    model, value = answer.get("model"), answer.get("prediction")
    version = model.get("version") if isinstance(model, dict) else None
    if version != manifest.version:
        return f"version {version} answers, not {manifest.version}: {answer}"
    if counts_ages(manifest.schema):
        return "" if isinstance(value, float | int) else f"{value} is no number"
    if not isinstance(value, float | int) or not math.isclose(
        value, golden.prediction, abs_tol=golden_tolerance(manifest)
    ):
        return f"{golden_features(manifest, golden)}: {value}, not {golden.prediction}"
    return ""
