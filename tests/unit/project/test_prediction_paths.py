"""A route that predicts is counted by the objectives, watched by a promotion, and let in by the ingress."""

import re

import pytest
import yaml
from support.products import SPEC
from support.settings import Settings

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from beacon_inference.openapi import openapi
from beacon_inference.openapi.operations import IDEMPOTENCY_KEY
from beacon_promotion.analysis import scrape
from tools.dashboards.queries import PREDICT

PATHS = [
    path
    for path, item in openapi(load_product(SPEC), Settings())["paths"].items()
    if IDEMPOTENCY_KEY in item.get("post", {}).get("parameters", ())
]


def endpoints(text: str) -> list[str]:
    """The expressions that choose endpoints in a text of rules."""
    return re.findall(r'endpoint=~"([^"]+)"', text)


def test_there_are_such_routes() -> None:
    assert len(PATHS) >= 6


@pytest.mark.parametrize("path", PATHS)
def test_rules_and_dashboards_count_it(path: str) -> None:
    folder = ROOT / "charts" / "monitoring" / "files" / "rules"
    chosen = [*endpoints("".join(file.read_text() for file in folder.glob("*.yaml"))), *endpoints(PREDICT)]
    assert len(chosen) > 10
    assert [expression for expression in chosen if not re.fullmatch(expression, path)] == []


@pytest.mark.parametrize("path", PATHS)
def test_a_promotion_watches_it(path: str) -> None:
    assert path.startswith(scrape.PREDICT)


@pytest.mark.parametrize("path", PATHS)
def test_the_ingress_lets_it_in(path: str) -> None:
    values = yaml.safe_load((ROOT / "charts" / "inference" / "values.yaml").read_text())
    assert any(path.startswith(allowed) for allowed in values["ingress"]["paths"])
