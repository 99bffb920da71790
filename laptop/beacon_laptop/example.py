"""Requests to paste: the first complete row of the bundled sample, by its features and by its entity."""

import csv
import json
import shlex

from beacon_core.product import Product


def curl_lines(product: Product, address: str) -> list[str]:
    """Two shell commands that ask the inference service at `address` for a prediction."""
    number, features = _complete_row(product)
    bodies: list[dict[str, object]] = [{"entity": {product.entity.key: number}}, {"features": features}]
    return [
        shlex.join(
            ["curl", "-s", f"{address}/v1/predict", "-H", "content-type: application/json", "-d", json.dumps(body)]
        )
        for body in bodies
    ]


def _complete_row(product: Product) -> tuple[int, dict[str, float | int]]:
    """Row number (from 1) and features of the first row that lacks nothing."""
    kinds = {feature.name: float if feature.type == "float" else int for feature in product.features}
    with product.sample_path.open(newline="", encoding="utf-8") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=1):
            given = {name: row[name] for name in kinds}
            if not set(given.values()) & {"", *product.source.missing}:
                return number, {name: kinds[name](text) for name, text in given.items()}
    raise ValueError(f"{product.sample_path}: no row is complete")
