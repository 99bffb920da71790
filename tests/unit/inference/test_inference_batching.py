"""Requests that come together share a run of the model, and nothing else."""

import asyncio

import numpy as np
import pytest

from beacon_core.model_package.batch_model import ROWS_PER_RUN
from beacon_inference.models.model import Model, ModelAnswers
from beacon_inference.prediction.batching import SINGLE_BATCHES, MicroBatcher


class Doubling:
    """Stands for a model: answers twice the first feature, notes the sizes of its runs, and refuses a row of 13.

    The spread of an answer is the feature itself.
    """

    def __init__(self):
        self.runs = []

    def predict(self, rows):
        self.runs.append(len(rows))
        if 13 in rows[:, 0]:
            raise ValueError("unlucky")
        return ModelAnswers((2 * rows[:, 0]).tolist(), rows[:, 0].tolist())


def rows_of(*values):
    return np.array([[value, 0.0] for value in values])


def values_of(answers):
    """The values of answers, each of which has the spread of its own row; errors as they are."""
    found = [answer for answer in answers if isinstance(answer, ModelAnswers)]
    assert all(answer.values == [2 * spread for spread in answer.spreads] for answer in found)
    return [answer.values if isinstance(answer, ModelAnswers) else answer for answer in answers]


async def ask(batcher, *asked):
    """Ask at once; each item is a model and its values."""
    return values_of(
        await asyncio.gather(
            *(batcher.predict(model, rows_of(*values)) for model, values in asked), return_exceptions=True
        )
    )


def test_requests_of_one_iteration_of_the_loop_are_one_run_and_each_has_its_own_answers():
    model, seconds = Doubling(), []
    batcher = MicroBatcher(seconds.append)
    assert asyncio.run(ask(batcher, (model, [1]), (model, [2, 3]), (model, [4]))) == [[2], [4, 6], [8]]
    assert model.runs == [4]
    assert len(seconds) == 1
    assert seconds[0] > 0


def test_a_batch_does_not_wait_for_later_requests():
    model = Doubling()
    batcher = MicroBatcher(lambda _: None)

    async def one_after_the_other():
        return values_of([await batcher.predict(model, rows_of(value)) for value in (1, 2)])

    assert asyncio.run(one_after_the_other()) == [[2], [4]]
    assert model.runs == [1, 1]


def test_after_single_batches_a_request_does_not_yield_until_others_arrive_again():
    model = Doubling()
    batcher = MicroBatcher(lambda _: None)

    async def waits():
        """Whether a request yields to the event loop before it runs the model."""
        before = len(model.runs)
        task = asyncio.create_task(batcher.predict(model, rows_of(1)))
        await asyncio.sleep(0)
        waited = len(model.runs) == before
        assert values_of([await task]) == [[2]]
        return waited

    async def run():
        alone = [await waits() for _ in range(3 * SINGLE_BATCHES)]
        runs = len(model.runs)
        for _ in range(SINGLE_BATCHES):
            assert await ask(batcher, (model, [1]), (model, [2])) == [[2], [4]]
        return alone, model.runs[runs:], await waits()

    alone, together, waited = asyncio.run(run())
    assert alone == [True] * SINGLE_BATCHES + ([True] + [False] * (SINGLE_BATCHES - 1)) * 2
    assert together[-1] == 2
    assert together.count(2) >= SINGLE_BATCHES // 2
    assert waited


def test_two_models_never_share_a_run():
    old, new = Doubling(), Doubling()
    batcher = MicroBatcher(lambda _: None)
    asked = ((old, [1]), (new, [2]), (new, [3]), (old, [4]))
    assert asyncio.run(ask(batcher, *asked)) == [[2], [4], [6], [8]]
    assert (old.runs, new.runs) == ([1, 1], [2])


def test_a_run_has_no_more_rows_than_the_model_takes_at_once():
    model = Doubling()
    batcher = MicroBatcher(lambda _: None)
    large = list(range(100, 100 + ROWS_PER_RUN))
    answers = asyncio.run(ask(batcher, (model, [1]), (model, large), (model, [2]), (model, [3])))
    assert answers == [[2], [2 * value for value in large], [4], [6]]
    assert model.runs == [1, ROWS_PER_RUN, 2]


def test_a_row_that_the_model_refuses_harms_no_other_request():
    model = Doubling()
    batcher = MicroBatcher(lambda _: None)
    first, second, third = asyncio.run(ask(batcher, (model, [1]), (model, [13]), (model, [3])))
    assert (first, third) == ([2], [6])
    assert isinstance(second, ValueError)
    assert model.runs == [3, 1, 1, 1]


@pytest.mark.parametrize("leaves", [0, 1, 2])
def test_a_client_that_disconnects_costs_no_other_its_answer(leaves):
    model = Doubling()
    batcher = MicroBatcher(lambda _: None)

    async def run():
        tasks = [asyncio.create_task(batcher.predict(model, rows_of(value))) for value in (1, 2, 3)]
        await asyncio.sleep(0)
        tasks[leaves].cancel()
        return values_of(await asyncio.gather(*tasks, return_exceptions=True))

    answers = asyncio.run(run())
    assert isinstance(answers.pop(leaves), asyncio.CancelledError)
    assert answers == [[2 * value] for value in (1, 2, 3) if value != leaves + 1]


def test_requests_that_arrive_together_share_a_run_in_the_service(service, row, monkeypatch):
    runs, predict = [], Model.predict
    monkeypatch.setattr(Model, "predict", lambda self, rows: runs.append(len(rows)) or predict(self, rows))
    first = next(iter(row))

    async def together():
        bodies = [{"features": row | {first: number / 10}} for number in range(5)]
        return await asyncio.gather(*(service.ask("POST", "/v1/predict", body) for body in bodies))

    answers = service.run(together())
    assert runs == [5]
    alone = [service.post("/v1/predict", {"features": row | {first: number / 10}}) for number in range(5)]
    assert [answer.json()["prediction"] for answer in answers] == [one.json()["prediction"] for one in alone]
    assert len({answer.json()["prediction_id"] for answer in answers}) == 5


def test_others_have_their_turn_between_the_runs_of_many_rows():
    model = Doubling()
    batcher = MicroBatcher(lambda _: None)
    many = list(range(100, 100 + 3 * ROWS_PER_RUN + 1))

    async def run():
        order = []

        async def one(name, values):
            answers = await batcher.predict(model, rows_of(*values))
            order.append(name)
            return answers

        answers = await asyncio.gather(one("many", many), one("single", [1]))
        return order, values_of(answers)

    order, answers = asyncio.run(run())
    assert order == ["single", "many"]
    assert answers == [[2 * value for value in many], [2]]
    assert sorted(model.runs) == [1, 1, ROWS_PER_RUN, ROWS_PER_RUN, ROWS_PER_RUN]
