"""Single rows with each family that the search may choose: a family whose answers are slow should not be offered."""

from collections.abc import Callable

from harness.asking import check, prediction_bodies, serving
from harness.closedloop import Loaded, closed_loop
from harness.machine import BenchError, say
from harness.model import Model
from harness.plan import Plan
from harness.served import shown
from harness.servers import SERVERS, Server

CONNECTIONS = 8
COMPARED = ("beacon", "floor", "fastapi", "mlserver")
"""The servers that the promises about single rows name."""


def measure_families(models: dict[str, Model], plan: Plan) -> dict[str, dict[str, Loaded]]:
    """One row per request at 8 connections: by family, then by server; raises `BenchError` for a wrong answer.

    A peer that cannot load a family's model is left out of that family: scikit-learn alone is in its environment.
    """
    found: dict[str, dict[str, Loaded]] = {}
    for family, model in models.items():
        for name in COMPARED:
            try:
                loaded = _one_row(SERVERS[name], model, plan)
            except BenchError as error:
                if name in {"beacon", "floor"}:
                    raise
                say(f"  {name} with {family}: {error}")
                continue
            say(f"  {name} with {family}: {shown(loaded)}")
            found.setdefault(family, {})[name] = loaded
    return found


def _one_row(make: Callable[[Model], Server], model: Model, plan: Plan) -> Loaded:
    server = make(model)
    with serving(server, model) as (_, port, _):
        check(port, server.one, model, 1)
        bodies = prediction_bodies(server, model, 1)
        return closed_loop(port, server.one.path, bodies, CONNECTIONS, plan.seconds, plan.repetitions)
