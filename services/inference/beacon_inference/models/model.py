"""A model in service: a verified package in ONNX Runtime, self-tested before it answers a request."""

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import onnxruntime as ort

from beacon_core.domain.pins import Pin
from beacon_core.domain.precision import float32_range
from beacon_core.domain.product import Product
from beacon_core.domain.schema import is_breaking
from beacon_core.domain.times import read_time
from beacon_core.model_package.batch_model import ROWS_PER_RUN, SPREAD, BatchModel
from beacon_core.model_package.manifest import Manifest, PackageError
from beacon_core.model_package.model_inputs import FeatureMap, to_columns
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.session import open_batch_model, open_session
from beacon_core.model_package.signature import DIGEST_ALONE, Trust, read_trusted
from beacon_core.platform.clock import timestamp
from beacon_inference.matrix import Bounds, Mask, Matrix, Texts
from beacon_inference.per_product import PerProduct

# A package sets its own tolerance, but not one so loose that any model would pass: a share of the target's spread.
LARGEST_TOLERANCE = 0.001
# The spread of a golden answer may differ by this share of it: trees answer in float32.
SPREAD_TOLERANCE = 1e-4


class ModelAnswers(NamedTuple):
    """A model's predictions, one per row, in the target's unit, and the spreads of their intervals.

    `spreads` are None where they are 1 for every row.
    """

    values: list[float]
    spreads: list[float] | None

    def part(self, first: int, last: int) -> "ModelAnswers":
        """The answers to some of the rows."""
        return ModelAnswers(self.values[first:last], self.spreads and self.spreads[first:last])


class Model:
    """A model that passed its self-test.

    Its rows are of its own features: `rows_of` makes them of a product's. `bounds` are the training range, for what is
    measured; `key` is the column of the most important measured feature (None without one), and `key_low`, `key_high`
    its normal range (1 % to 99 %). `has_spread`: its intervals follow the row.
    """

    def __init__(
        self, pin: Pin, manifest: Manifest, session: ort.InferenceSession, batch: BatchModel | None = None
    ) -> None:
        self.pin = pin
        self.manifest = manifest
        self._session = session
        self._batch = batch
        outputs = [output.name for output in session.get_outputs()]
        # The prediction is the first output, whatever its name is.
        self.has_spread = SPREAD in outputs[1:]
        self._outputs = [outputs[0], SPREAD] if self.has_spread else [outputs[0]]
        self._input = session.get_inputs()[0].name
        schema, facts = manifest.schema, manifest.features
        levels = {feature.name: feature.levels for feature in facts if feature.levels is not None}
        self._maps = PerProduct(lambda product: FeatureMap(product.features, schema, levels))
        self._fill = np.array([feature.fill for feature in facts])
        self._computes_columns = bool(schema.derived) or any(feature.parts for feature in schema.features)
        measured = [feature.is_measured for feature in schema.features]
        ranges = [
            float32_range(fact.min, fact.max) if is_measured else (-np.inf, np.inf)
            for fact, is_measured in zip(facts, measured, strict=True)
        ]
        self.bounds = Bounds([low for low, _ in ranges], [high for _, high in ranges])
        self.key: int | None = None
        self.key_low, self.key_high = -np.inf, np.inf
        if any(measured):
            shares = [fact.importance if known else -1.0 for fact, known in zip(facts, measured, strict=True)]
            self.key = int(np.argmax(shares))
            quantiles = facts[self.key].quantiles
            self.key_low, self.key_high = float32_range(quantiles[0], quantiles[-1])

    def rows_of(self, product: Product, values: Matrix, texts: Texts) -> Matrix:
        """Make rows of the model's features, NaN where missing, from those of the product's (rows, features)."""
        return self._maps(product)(values, texts)

    def fill(self, rows: Matrix) -> Matrix:
        """Give each missing value of the model's rows the value that training fitted."""
        return np.where(np.isnan(rows), self._fill, rows)

    def out_of_range(self, product: Product, rows: Matrix) -> Mask:
        """The mask (rows, features of the product) of values that are out of the training range."""
        mask, feature_map = self.bounds.out_of_range(rows), self._maps(product)
        if feature_map.is_identity:
            return mask
        found = np.zeros((len(rows), len(product.features)), dtype=bool)
        for column, source in enumerate(feature_map.sources):
            if source is not None:
                found[:, source] = mask[:, column]
        return found

    def predict(self, rows: Matrix, seconds: float | None = None) -> ModelAnswers:
        """Predict complete rows (n, features).

        `seconds` since 1970 are the moment to which ages are counted; the default is now.
        """
        if self._computes_columns:
            moment = timestamp() if seconds is None else seconds
            rows = to_columns(rows, self.manifest.schema, np.full(len(rows), moment))
        values: list[float] = []
        spreads: list[float] = []
        for first in range(0, len(rows), ROWS_PER_RUN):
            some = rows[first : first + ROWS_PER_RUN].astype(np.float32)
            if self._batch is not None and len(some) >= self._batch.rows_from:
                answers = self._batch.answers(some)
            else:
                answers = self._session.run(self._outputs, {self._input: some})
            values += answers[0].ravel().tolist()
            if len(answers) > 1:
                spreads += answers[1].ravel().tolist()
        return ModelAnswers(values, spreads if self.has_spread else None)


def load_model(models: Path, pin: Pin, product: Product, trust: Trust = DIGEST_ALONE) -> Model:
    """Load the pinned version; raises `PackageError` if it is damaged, of another product or fails its self-test.

    So it does where `trust` misses a signature.

    The schema that it was trained on may differ from the product's (`product_in_service`).
    """
    package = read_trusted(package_folder(models, pin), pin.sha256, trust)
    manifest = package.manifest
    _check_fit(manifest, pin, product)
    try:
        batch = None if package.batch is None else open_batch_model(package.batch)
        session = open_session(package.model)
        model = Model(pin, manifest, session, batch)
        _check_outputs(model, batch)
        _self_test(model)
        if batch is not None:  # the graph itself, which the form may answer for
            _self_test(Model(pin, manifest, session))
    except PackageError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise PackageError(f"{pin.name} {pin.version}: the model does not run: {error}") from error
    return model


def product_in_service(product: Product, manifest: Manifest) -> Product:
    """The product as requests must have it while this model answers.

    Without a breaking change, that is the product itself: the model gets its own features out of the request's. After
    a breaking change, the schema of the package holds, until a model of the new one is released. Intervals always have
    the coverage that the package was made for.
    """
    schema, training = (
        manifest.schema,
        msgspec.structs.replace(product.training, interval_coverage=manifest.interval.coverage),
    )
    if not is_breaking(schema, product.schema):
        return product if training == product.training else msgspec.structs.replace(product, training=training)
    return msgspec.structs.replace(
        product,
        schema_version=schema.version,
        entity=schema.entity,
        target=schema.target,
        features=schema.features,
        derived=schema.derived,
        min_features=schema.min_features,
        training=training,
    )


def _check_fit(manifest: Manifest, pin: Pin, product: Product) -> None:
    names = tuple(feature.name for feature in manifest.features)
    built, installed = manifest.libraries.get("onnxruntime", "0"), ort.__version__
    spread = manifest.target_quantiles[-1] - manifest.target_quantiles[0]
    rules = [
        (manifest.product == pin.name == product.name, f"is of product {manifest.product}, not {product.name}"),
        (manifest.version == pin.version, f"says that it is version {manifest.version}"),
        (names == manifest.schema.feature_names, f"has the features {', '.join(names)}, which its schema has not"),
        (_release(built) <= _release(installed), f"was checked with onnxruntime {built}, this is {installed}"),
        (bool(manifest.golden), "has no golden requests"),
        (_is_time(manifest.created_at), f"was made at {manifest.created_at!r}, which is no ISO 8601 time"),
        (
            manifest.golden_tolerance <= LARGEST_TOLERANCE * spread or manifest.golden_tolerance == 0,
            f"tolerates {manifest.golden_tolerance:g} in its golden answers, of a target that spreads over {spread:g}",
        ),
    ]
    for holds, rule in rules:
        if not holds:
            raise PackageError(f"{pin.name} {pin.version}: {rule}")


def _check_outputs(model: Model, batch: BatchModel | None) -> None:
    """The graph, its form for batches and the manifest must agree on whether intervals follow the row."""
    wanted = model.manifest.interval.follows_row
    forms = {"model": model.has_spread}
    if batch is not None:
        forms["form for batches"] = SPREAD in batch.outputs
    for what, has_spread in forms.items():
        if has_spread != wanted:
            raise PackageError(
                f"{model.pin.name} {model.pin.version}: the manifest's interval.follows_row is {str(wanted).lower()}, "
                f"and the {what} has {'an' if has_spread else 'no'} output {SPREAD}"
            )


def _self_test(model: Model) -> None:
    golden, made = model.manifest.golden, read_time(model.manifest.created_at).timestamp()
    rows = np.array([case.row for case in golden])
    wanted = np.array([case.prediction for case in golden])
    for row in rows:  # one by one, as in requests: this also warms up the session
        model.predict(row[None], made)
    # All of them twice in one batch: a model that answers a batch with one value must not pass.
    found = model.predict(np.concatenate([rows, rows]), made)
    answers, wanted = np.array(found.values), np.concatenate([wanted, wanted])
    if answers.shape != wanted.shape:
        raise PackageError(f"{model.pin.name} {model.pin.version}: gives {answers.size} answers to {wanted.size} rows")
    worst = float(np.abs(answers - wanted).max())
    if not worst <= model.manifest.golden_tolerance:
        raise PackageError(
            f"{model.pin.name} {model.pin.version}: a golden answer is off by {worst:g} "
            f"(allowed {model.manifest.golden_tolerance:g})"
        )
    if found.spreads is not None:
        spreads = np.array([case.spread for case in golden] * 2)
        off = float(np.abs(np.array(found.spreads) / spreads - 1).max())
        if not off <= SPREAD_TOLERANCE:
            raise PackageError(
                f"{model.pin.name} {model.pin.version}: the spread of a golden answer is off by {off:.2%} of it "
                f"(allowed {SPREAD_TOLERANCE:.2%})"
            )


def _is_time(text: str) -> bool:
    try:
        read_time(text)
    except ValueError:
        return False
    return True


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
