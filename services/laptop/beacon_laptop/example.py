"""Example requests for the terminal: a row of the product's sample, by its features and by its entity."""

import json
import math
import shlex

from beacon_core.domain.product import Product
from beacon_core.platform.data_file import DataError, read_rows

Row = dict[str, float | int]
Body = dict[str, object]


def example_requests(product: Product) -> list[Body]:
    """Two requests for a prediction."""
    number, features = _fullest_row(product)
    return [{"entity": {product.entity.key: number}}, {"features": features}]


def curl_command(url: str, body: Body) -> str:
    """A shell command that sends `body` to the prediction route `url`."""
    return shlex.join(["curl", "-s", url, "-H", "content-type: application/json", "-d", json.dumps(body)])


def _fullest_row(product: Product) -> tuple[int, Row]:
    """Number (from 1) and known features of the first complete row, else of the row with the fewest missing values.

    Where the sample cannot be read, the examples of product.yaml are used: the model in service may come from other
    data, and a training on the sample reports the error.
    """
    number, fullest = 1, {feature.name: feature.example for feature in product.features}
    most = 0
    try:
        for place, row in enumerate(read_rows(product.sample_path, product), start=1):
            known = {name: row[name] for name in product.feature_names if not math.isnan(row[name])}
            if len(known) > most:
                number, fullest, most = place, known, len(known)
            if most == len(product.features):
                break
    except (DataError, OSError):
        pass
    kinds = {feature.name: float if feature.type == "float" else int for feature in product.features}
    return number, {name: kinds[name](value) for name, value in fullest.items()}
