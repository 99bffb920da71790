"""Register: a finished model of another library becomes a version of the product, with a verdict, as our own do."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version as library_version
from pathlib import Path

import msgspec
import numpy as np

from beacon_core.data.database import Engine, migrate
from beacon_core.data.prediction_log.reading import open_log
from beacon_core.data.run_lock import only_one
from beacon_core.domain.product import Product
from beacon_core.domain.schema import Schema
from beacon_core.model_package.manifest import Package
from beacon_core.model_package.session import open_session
from beacon_core.model_package.signature import signer_of
from beacon_core.platform import clock
from beacon_core.platform.settings import Settings
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.evaluation.gate import Mask
from beacon_retraining.evaluation.given_rows import GivenRows, evaluate_given
from beacon_retraining.files import write_table
from beacon_retraining.foreign import sandbox
from beacon_retraining.foreign.card import brought_card
from beacon_retraining.foreign.figures import Figures, measure
from beacon_retraining.foreign.given import ReadRows, read_rows
from beacon_retraining.foreign.model_file import ModelFile, open_model
from beacon_retraining.foreign.package_model import WrappedModel, check_file, check_trust, make_graph
from beacon_retraining.packaging.conversion.parity import MOST_PARITY
from beacon_retraining.packaging.export import run_all
from beacon_retraining.packaging.package import PackageOrigin, PackageParts, assemble
from beacon_retraining.pipeline import context as files
from beacon_retraining.pipeline.context import RegistrationResult
from beacon_retraining.pipeline.data_stages import find_champion
from beacon_retraining.pipeline.evaluate_stage import read_champion, write_reports
from beacon_retraining.pipeline.package_stage import existing_package, highest_known
from beacon_retraining.pipeline.publish import publish
from beacon_retraining.pipeline.registered_rows import rows_known_to
from beacon_retraining.pipeline.stages import JOB
from beacon_retraining.registry import register as registering
from beacon_retraining.registry.register import Registry, RegistryEntry
from beacon_retraining.training.columns import columns_of, stated_levels
from beacon_retraining.training.imputation import fit_fill, model_columns

GIVEN_ROWS, TRAINING_ROWS = "given.parquet", Path(registering.TRAINING_ROWS).name
SEED = 0
LIBRARIES = ("numpy", "onnx", "onnxruntime")
Reporter = Callable[[str], None]


class RegisterOptions(msgspec.Struct, frozen=True):
    """What a person says of a model: where it is, the labelled rows that it has not seen, those it was trained on."""

    model: str
    rows: Path
    training_rows: Path | None = None
    trust_pickle: bool = False
    name: str = ""
    note: str = ""


def register(settings: Settings, product: Product, options: RegisterOptions, report: Reporter) -> RegistrationResult:
    """Register the model; raises `ForeignModelError`, `DataError`, `BusyError` and the registry's errors."""
    signer_of(settings)  # a model that nobody would take need not be tried
    registry = Registry(settings.mlflow_address)
    with open_model(options.model, registry) as file:
        check_trust(file, trust_pickle=options.trust_pickle)
        check_file(file, columns_of(product.schema, stated_levels(product.schema)))
        if file.kind == "pickle":
            report(f"{file.name} is a pickle: it is loaded in {sandbox.described()}")
        rows = read_rows(product, options.rows, options.training_rows)
        _report_rows(rows, report)
        wrapped, fill = _graph(product, file, rows, report)
    engine = open_log(settings)
    migrate(engine)
    with only_one(engine, settings.home / "run", JOB, "a retraining or another registration is at work"):
        return _register(settings, product, engine, registry, options, rows, wrapped, fill, report)


def _graph(product: Product, file: ModelFile, rows: ReadRows, report: Reporter) -> tuple[WrappedModel, Matrix]:
    """The graph, tried on all rows, and what stands for missing values."""
    reference, given = rows.reference, rows.given
    fill = fit_fill(reference.features, product.schema)
    parts = [given] if rows.training is None else [given, rows.training]
    numbers = np.concatenate([model_columns(each.features, fill, each.schema, each.seconds) for each in parts])
    columns = columns_of(product.schema, reference.levels)
    wrapped = make_graph(file, columns, numbers, reference.spread)
    share = wrapped.parity / reference.spread
    report(f"{wrapped.algorithm}: as ONNX within {share:.1g} of the target's spread, on {len(numbers)} rows")
    return wrapped, fill


def _register(
    settings: Settings,
    product: Product,
    engine: Engine,
    registry: Registry,
    options: RegisterOptions,
    rows: ReadRows,
    wrapped: WrappedModel,
    fill: Matrix,
    report: Reporter,
) -> RegistrationResult:
    given, schema = rows.given, rows.given.schema
    session = open_session(wrapped.content)

    def predict(features: Matrix) -> Matrix:
        times = given.seconds if len(features) == len(given.target) else np.full(len(features), given.seconds.max())
        return run_all(session, model_columns(features, fill, schema, times))

    own = wrapped.answers[: len(given.target)]
    figures = measure(given, own, product.training.interval_coverage, predict, SEED)
    report("; ".join(f"{score.name} {score.value:.4g}" for score in figures.scores) + f", {figures.scores[0].how}")
    _report_ignored(schema, figures, report)
    pin = find_champion(settings, product.name, engine)
    key = _run_key(product, rows, wrapped)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        package = existing_package(settings, registry, product.name, key, folder / files.PACKAGE)
        if package is None:
            version = registry.next_version(product.name, above=highest_known(settings, product, engine))
            package = _package(
                settings, product, options, rows, wrapped, fill, figures, folder / files.PACKAGE, version
            )
        else:
            report(f"version {package.manifest.version} is from the same model and rows already")
        champion = None if pin is not None and pin.sha256 == package.sha256 else read_champion(settings, pin)
        known = _known(product, registry, champion, rows, report)
        limit = MOST_PARITY * rows.reference.spread
        compared = GivenRows(given, figures.low, figures.high, known, wrapped.parity, limit)
        verdict = evaluate_given(settings, product, compared, package, champion, SEED)
        write_reports(folder, verdict, package, "")
        entry = _entry(product, options, rows, wrapped, figures, folder, key)
        published = publish(settings, product, engine, package, entry, verdict, pin)
    version = package.manifest.version
    report(f"{product.name} version {version} {published.state}; verdict: {verdict.outcome}: {verdict.reason}")
    return RegistrationResult(version, package.sha256, published.run_id, verdict.outcome)


def _package(
    settings: Settings,
    product: Product,
    options: RegisterOptions,
    rows: ReadRows,
    wrapped: WrappedModel,
    fill: Matrix,
    figures: Figures,
    models: Path,
    version: str,
) -> Package:
    rows_of = "the given rows" if rows.training is None else "the training rows"
    parity = wrapped.parity, wrapped.parity / rows.reference.spread, len(wrapped.answers)
    parts = PackageParts(
        model=wrapped.content,
        fill=fill,
        importances=figures.importances,
        interval=figures.interval,
        expected_absolute_error=figures.mae,
        scores=figures.scores,
        algorithm=options.name or wrapped.algorithm,
        libraries=wrapped.libraries | {name: library_version(name) for name in LIBRARIES},
        card=lambda manifest, effects: brought_card(
            product, manifest, effects, file=Path(options.model).name, sha256=wrapped.sha256, note=options.note,
            takes=wrapped.takes, parity=parity, rows_of=rows_of,
        ),
    )  # fmt: skip
    source = options.rows if options.training_rows is None else options.training_rows
    origin = PackageOrigin(version, f"{source.name}, {rows_of}", settings.build_revision, clock.now())
    return assemble(models, product, rows.reference, parts, origin)


def _known(
    product: Product, registry: Registry, champion: Package | None, rows: ReadRows, report: Reporter
) -> Mask | None:
    """Which given rows the champion was trained on; None where nobody can tell."""
    if champion is None:
        return None
    version = champion.manifest.version
    known = rows_known_to(registry, product, rows.given, version)
    if known is None:
        report(f"the registry does not have the rows that version {version} was trained on: it may know the given ones")
    elif known.any():
        report(f"version {version} was trained on {int(known.sum())} of the given rows: they are not compared")
    return known


def _entry(
    product: Product,
    options: RegisterOptions,
    rows: ReadRows,
    wrapped: WrappedModel,
    figures: Figures,
    folder: Path,
    key: str,
) -> RegistryEntry:
    write_table(folder / GIVEN_ROWS, rows.frame)
    data: tuple[Path, ...] = (folder / GIVEN_ROWS,)
    if rows.frame_of_training is not None:
        write_table(folder / TRAINING_ROWS, rows.frame_of_training)
        data += (folder / TRAINING_ROWS,)
    params = {
        "candidate": options.name or wrapped.algorithm,
        "trained_by": "another program",
        "model.file": options.model,
        "model.sha256": wrapped.sha256,
        "data.fingerprint": rows.reference.fingerprint,
        "data.rows": str(len(rows.reference.target)),
        "data.unlabelled_rows": str(rows.unlabelled),
        "data.production_rows": "0",
        "schema_hash": product.schema.digest,
        "trigger": "hand",
    } | ({"note": options.note} if options.note else {})
    metrics = {score.name: score.value for score in figures.scores}
    metrics |= {"interval_coverage": figures.interval.measured_coverage, "parity": wrapped.parity}
    reports = tuple(folder / name for name in (files.VERDICT, files.VERDICT_TABLE, files.VERDICT_PLOT, files.REPORT))
    return RegistryEntry(key, params, metrics, {registering.DATA: data, "verdict": reports})


def _run_key(product: Product, rows: ReadRows, wrapped: WrappedModel) -> str:
    """sha256 over all that a brought model's package follows from."""
    facts = {
        "model": hashlib.sha256(wrapped.content).hexdigest(),
        "given": rows.given.fingerprint,
        "reference": rows.reference.fingerprint,
        "schema": product.schema.digest,
        "training": product.training,
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()


def _report_rows(rows: ReadRows, report: Reporter) -> None:
    more = f"; {rows.unlabelled} more have no target" if rows.unlabelled else ""
    more += f"; {rows.repeated} more are training rows, and are left out" if rows.repeated else ""
    report(f"{len(rows.given.target)} given rows{more}")


def _report_ignored(schema: Schema, figures: Figures, report: Reporter) -> None:
    """A text that the model was trained on in another spelling is never found: its answers do not follow it."""
    names: Sequence[str] = [
        feature.name
        for feature, importance in zip(schema.features, figures.importances, strict=True)
        if feature.type == "category" and importance == 0
    ]
    if names:
        report(
            f"its answers do not follow {', '.join(names)}: are the levels spelt or numbered otherwise in its training?"
        )
