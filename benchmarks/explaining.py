"""What an explanation costs: `make bench-explain`, of the checkout's product or of a table (FILE= TARGET= [TIME=]).

Each model is packaged as retraining does it. In process: one row, exact and sampled. Over HTTP: one row of the real
server, and one-row predictions in a closed loop, alone and beside explanations at a steady rate, in rounds that take
turns. The time of the package stage is told by part (`--parts package`).
"""

import argparse
import cProfile
import http.client
import json
import os
import pstats
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from any_table.proposed import propose
from any_table.tables import Table
from harness.closedloop import wrk
from support.server import serving

from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.feature_store.names import BASE_EVENT_TIME, EVENT_TIME
from beacon_core.model_package.explanation.explainer import Explainer
from beacon_core.model_package.explanation.file import decode_explanation, encode_explanation
from beacon_core.model_package.manifest import Interval, Package
from beacon_core.model_package.recipe import Member, Recipe
from beacon_core.model_package.release import Release, write_release
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import load_settings
from beacon_core.sources.table import load_table
from beacon_retraining.data.dataset import Dataset, dataset_of
from beacon_retraining.data.validate import validate_table
from beacon_retraining.packaging.package import PackageOrigin, PackageParts, assemble, export_model
from beacon_retraining.training.families import FAMILIES
from beacon_retraining.training.fitting import fit

TREES = Member("hist-boosting", {**FAMILIES["hist-boosting"].defaults, "max_iter": 300, "max_leaf_nodes": 31})
KERNEL, RIDGE = Member("kernel-ridge", FAMILIES["kernel-ridge"].defaults), Member("ridge", FAMILIES["ridge"].defaults)
RECIPES = {
    "blend of 300 trees and a kernel": Recipe((TREES, KERNEL)),
    "300 trees of 31 leaves": Recipe((TREES,)),
    "ridge": Recipe((RIDGE,)),
}
ROWS, WARM_UP, REQUESTS = 100, 30, 400
ROUNDS, SECONDS, RATE = 8, 3, 10.0
"""Rounds of predictions alone and beside explanations, seconds of each, explanations a second."""
PARTS = ("package", "process", "http", "beside")


def main() -> None:
    """Measure the parts and print a row of a table for each figure."""
    parser = argparse.ArgumentParser(prog="make bench-explain", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--models", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--file", type=Path, help="a table as CSV")
    parser.add_argument("--target", default="", help="the column to predict")
    parser.add_argument("--time", default="", help="the column that says when a row was so")
    given = parser.parse_args()
    if given.file and not given.target:
        parser.error("--file needs --target")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        product = load_product(load_settings().product)
        if given.file:
            product = propose(Table("mine", given.file.resolve(), given.target, "", given.time), folder)
        dataset = read_dataset(product)
        print(f"{len(dataset.target):,} rows, {len(product.features)} features; load {os.getloadavg()[0]:.1f}")
        for number, model in enumerate(given.models):
            if all(FAMILIES[member.family].can_fit(len(dataset.target)) for member in RECIPES[model].members):
                measure(model, product, dataset, folder / f"home-{number}", given.parts)


def read_dataset(product: Product) -> Dataset:
    """The rows of the product's own table; without times they are all of one time."""
    rows = validate_table(load_table(product).table, product)
    if EVENT_TIME not in rows:
        rows[EVENT_TIME] = pd.Series(BASE_EVENT_TIME, index=rows.index).astype("datetime64[us, UTC]")
    return dataset_of(product, rows[rows[product.target.name].notna()])


def measure(model: str, product: Product, dataset: Dataset, home: Path, parts: Sequence[str]) -> None:
    """Package one model, and print its figures."""
    profile = cProfile.Profile(time.process_time)
    began = time.process_time()
    package = packaged(RECIPES[model], product, dataset, home / "models", profile)
    if "package" in parts:
        print(f"{model}: fitted and packaged in {time.process_time() - began:.1f} s of processor time, of which")
        print_parts(profile)
    random = np.random.default_rng(0)
    rows = dataset.features[random.choice(len(dataset.target), ROWS)]
    fill = np.array([facts.fill for facts in package.manifest.features])
    rows = np.where(np.isnan(rows), fill, rows)
    if "process" in parts:
        for kind, explainer in explainers(package).items():
            passed, used = timed(explainer, rows, float(dataset.seconds[0]))
            print(f"{model}, in process, {kind}: {told(passed)}; processor time {told(used)}")
    if {"http", "beside"} & set(parts):
        pin = Pin(product.name, package.manifest.version, package.sha256)
        write_release(home / "release.json", Release(pin))
        bodies = [json.dumps({"features": features}) for features in features_of(product, dataset)]
        with serving(home, product=product.file, access_log="false") as server:
            if "http" in parts:
                print(f"{model}, over HTTP: {told(asked(server.port, bodies))}")
            if "beside" in parts:
                print(f"{model}, predictions: {beside(server.port, bodies, home / 'bodies.txt')}")


def packaged(recipe: Recipe, product: Product, dataset: Dataset, models: Path, profile: cProfile.Profile) -> Package:
    """The recipe fitted to all rows, as a package; `profile` is that of the package alone."""
    fitted = fit(recipe, dataset, 0)
    error = float(np.abs(fitted.predict(dataset.features, dataset.seconds) - dataset.target).mean())
    parts = PackageParts(
        model=export_model(dataset, fitted),
        fill=fitted.fill,
        importances=np.full(len(product.features), 1 / len(product.features)),
        interval=Interval("of a measurement", 0.9, dataset.spread, dataset.spread, 0.9),
        expected_absolute_error=error,
        scores=(),
        algorithm="of a measurement",
        libraries={},
        card=lambda _manifest, _effects: "of a measurement",
    )
    with profile:
        return assemble(models, product, dataset, parts, PackageOrigin("1", "a table", "none", datetime.now(UTC)))


def print_parts(profile: cProfile.Profile) -> None:
    """The processor time of the parts of the stage."""
    effects = ("find_effects", "_curve", "_interaction", "explain_columns")
    explanation = ("make_explanation", "_kernel", "read_trees", "count_rows", "find_players", "_checked", "leaves")
    others = ("make_batch_form", "reference_profile", "effects_plot", "place", "run_with_spread", "_golden")
    wanted = {"assemble", *others, *effects, *explanation}
    found: dict[str, float] = {}
    for (file, _, name), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if name in wanted and "beacon" in file:
            found[name] = max(found.get(name, 0.0), cumulative)
    for name, seconds in sorted(found.items(), key=lambda item: -item[1]):
        print(f"  {seconds:7.2f} s {name}")


def explainers(package: Package) -> dict[str, Explainer]:
    """Of the package as it is, and of the same without terms, which is sampled."""
    whole = Explainer(package)
    assert package.explanation is not None
    sampled = encode_explanation(msgspec.structs.replace(decode_explanation(package.explanation), terms=None))
    without = Explainer(msgspec.structs.replace(package, explanation=sampled))
    return {"exact" if whole.is_exact else "not exact": whole, "sampled": without}


def timed(explainer: Explainer, rows: Any, seconds: float) -> tuple[list[float], list[float]]:
    """Milliseconds of each explanation: those that passed, and those of this thread alone, whatever else runs."""
    requests = REQUESTS if explainer.is_exact else ROWS
    for row in rows[:WARM_UP]:
        explainer.explain(row, seconds)
    passed, used = [], []
    for number in range(requests):
        began, used_before = time.perf_counter(), time.thread_time()
        explainer.explain(rows[number % len(rows)], seconds)
        used.append((time.thread_time() - used_before) * 1e3)
        passed.append((time.perf_counter() - began) * 1e3)
    return passed, used


def features_of(product: Product, dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Rows as clients send them."""
    table = load_table(product).table.select(list(product.feature_names)).slice(0, ROWS).to_pylist()
    for row in table:
        yield {
            name: value.isoformat() if hasattr(value, "isoformat") else value
            for name, value in row.items()
            if value is not None
        }
    assert len(dataset.target) >= len(table)


def asked(port: int, bodies: Sequence[str]) -> list[float]:
    """Milliseconds of each of `REQUESTS` requests to /v1/explain on one connection, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    found = []
    for number in range(WARM_UP + REQUESTS):
        began = time.perf_counter()
        explain(connection, bodies[number % len(bodies)])
        found.append((time.perf_counter() - began) * 1e3)
    connection.close()
    return found[WARM_UP:]


def explain(connection: http.client.HTTPConnection, body: str) -> None:
    """One request; raises SystemExit where it has no answer."""
    connection.request("POST", "/v1/explain", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.client.OK:
        raise SystemExit(content.decode())


@contextmanager
def explaining(port: int, bodies: Sequence[str], counted: list[float]) -> Iterator[None]:
    """A client that asks for explanations at a steady rate meanwhile; their milliseconds are added to `counted`."""
    stopped = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        due = time.perf_counter()
        while not stopped.wait(max(0.0, due - time.perf_counter())):
            due += 1 / RATE
            began = time.perf_counter()
            explain(connection, bodies[len(counted) % len(bodies)])
            counted.append((time.perf_counter() - began) * 1e3)
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def beside(port: int, bodies: Sequence[str], file: Path) -> str:
    """Predictions alone and beside explanations: what the second has of the first, over the rounds."""
    file.write_text("".join(f"{body}\n" for body in bodies), encoding="utf-8")
    wrk(port, "/v1/predict", file, 1, SECONDS)
    explained: list[float] = []
    alone, with_them = [], []
    for number in range(ROUNDS):
        for is_explained in ((False, True), (True, False))[number % 2]:
            if is_explained:
                with explaining(port, bodies, explained):
                    with_them.append(wrk(port, "/v1/predict", file, 1, SECONDS))
            else:
                alone.append(wrk(port, "/v1/predict", file, 1, SECONDS))
    rates = [[run.requests / run.seconds for run in runs] for runs in (alone, with_them)]
    p50, p99 = ([[getattr(run, name) for run in runs] for runs in (alone, with_them)] for name in ("p50_ms", "p99_ms"))
    ratios = sorted(second / first for first, second in zip(*rates, strict=True))
    shown = ", ".join(f"{ratio - 1:+.1%}" for ratio in ratios)
    return (
        f"{statistics.median(rates[0]):,.0f}/s alone, {statistics.median(rates[1]):,.0f}/s beside {RATE:g} "
        f"explanations/s ({statistics.median(ratios) - 1:+.1%}; rounds {shown}); "
        f"p50 {statistics.median(p50[0]):.2f} and {statistics.median(p50[1]):.2f} ms, "
        f"p99 {statistics.median(p99[0]):.2f} and {statistics.median(p99[1]):.2f} ms; "
        f"{len(explained)} explanations meanwhile, {told(explained)}; load {os.getloadavg()[0]:.1f}"
    )


def told(milliseconds: Sequence[float]) -> str:
    """Median and p99."""
    return f"p50 {np.quantile(milliseconds, 0.5):.2f} ms, p99 {np.quantile(milliseconds, 0.99):.2f} ms"


if __name__ == "__main__":
    main()
