"""Questions by entity, for any product, in every protocol that takes one."""

import http.client
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any, NamedTuple

from beacon_core.domain.product import Product

ANSWER_SECONDS = 120


class Question(NamedTuple):
    """One request."""

    path: str
    body: dict[str, Any]


def forms(product: Product, entity: int) -> list[Question]:
    """The same question in each form."""
    (key,), name = product.keys, product.name
    tensor = {"name": key, "shape": [1, 1], "datatype": "INT64", "data": [entity]}
    return [
        Question("/v1/predict", {"entity": {key: entity}}),
        Question("/v1/predict/batch", {"rows": [{"entity": {key: entity}}]}),
        Question(f"/v1/models/{name}:predict", {"instances": [{key: entity}]}),
        Question(f"/v2/models/{name}/infer", {"inputs": [tensor]}),
        Question("/invocations", {"dataframe_records": [{key: entity}]}),
    ]


def questions(product: Product, entities: Sequence[int], count: int) -> list[Question]:
    """So many questions, of one entity after the other, each in the next form."""

    def endless() -> Iterator[Question]:
        for turn, entity in enumerate(cycle(entities)):
            asked = forms(product, entity)
            yield asked[turn % len(asked)]

    return list(islice(endless(), count))


def failures(port: int, asked: Sequence[Question], clients: int) -> list[str]:
    """Ask all of them, by so many clients at once, each on a connection of its own; what was not answered with 200."""

    def ask(some: Sequence[Question]) -> list[str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        failed = []
        try:
            for question in some:
                try:
                    connection.request(
                        "POST", question.path, json.dumps(question.body), {"Content-Type": "application/json"}
                    )
                    answer = connection.getresponse()
                    text = answer.read().decode()
                    if answer.status != http.client.OK:
                        failed.append(f"{question.path} {question.body}: {answer.status} {text}")
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    failed.append(f"{question.path} {question.body}: {error!r}")
        finally:
            connection.close()
        return failed

    with ThreadPoolExecutor(clients) as threads:
        return [
            line for failed in threads.map(ask, (asked[start::clients] for start in range(clients))) for line in failed
        ]
