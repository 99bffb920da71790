"""Judge seeds by a peer's rule that looks once a day at that day's rows: `python -m drift.daily RULE SEED...`.

Prints one JSON line a seed. A quiet run ends at its first alarm: more would change nothing.
"""

import importlib
import json
import sys
from collections.abc import Callable

from drift.streams import DAYS, Floats, Population, Stream

from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings

Rule = Callable[[Product, Floats, Floats], dict[str, set[str]]]
"""Reference and window, shape (rows, columns): which columns each of a peer's rules finds drifted."""


def judge(rule: Rule, product: Product, stream: Stream) -> dict[str, dict[str, object]]:
    """Return, by the rule's name, whether the quiet run had an alarm, and which features' shifts were found."""
    alarms = {name: bool(columns) for name, columns in rule(product, stream.reference, stream.day(0)).items()}
    for number in range(1, DAYS):
        if all(alarms.values()):
            break
        for name, columns in rule(product, stream.reference, stream.day(number)).items():
            alarms[name] = alarms[name] or bool(columns)
    detected: dict[str, dict[str, bool]] = {name: {} for name in alarms}
    for feature in stream.population.shiftable:
        for name, columns in rule(product, stream.reference, stream.shifted(feature)).items():
            detected[name][feature] = feature in columns
    return {name: {"alarm": alarms[name], "found": detected[name]} for name in alarms}


def main() -> None:
    rule = importlib.import_module(f"drift.{sys.argv[1]}").drifted
    product = load_product(load_settings().product)
    population = Population(product)
    for seed in map(int, sys.argv[2:]):
        stream = Stream(population, seed)
        line = {"seed": seed, "digest": stream.digest(), "rules": judge(rule, product, stream)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
