"""Explanations as inference answers them."""

from typing import Any

import pytest


def explanations(answer: Any) -> list[dict[str, Any]]:
    """The explanations of an answer, each of which adds up to its prediction."""
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["explanations"]
    for one in found:
        total = one["base"] + sum(each["contribution"] for each in one["contributions"])
        assert total == pytest.approx(one["prediction"], abs=2e-5)
    return found


def sizes(explanation: dict[str, Any]) -> dict[str, float]:
    return {each["feature"]: each["contribution"] for each in explanation["contributions"]}
