"""A model in service: a verified package in ONNX Runtime, self-tested before it answers a request."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from beacon_core.domain.pins import Pin
from beacon_core.domain.precision import float32_range
from beacon_core.domain.product import Product
from beacon_core.domain.times import read_time
from beacon_core.model_package.manifest import Manifest, PackageError, read_package
from beacon_core.model_package.release import package_folder
from beacon_inference.matrix import Bounds, Matrix

# A package sets its own tolerance, but not one so loose that any model would pass.
LARGEST_TOLERANCE = 0.001
# Larger runs are no faster, and need more memory: a kernel's intermediate results take 4 kB per row.
ROWS_PER_RUN = 256


class Model:
    """A model that passed its self-test.

    `imputed` has the value that a missing feature gets, in matrix column order; `bounds` are the training range; `key`
    is the most important feature's column and `key_low`, `key_high` its normal range (1 % to 99 %).
    """

    def __init__(self, pin: Pin, manifest: Manifest, session: ort.InferenceSession) -> None:
        self.pin = pin
        self.manifest = manifest
        self._session = session
        self._outputs = [session.get_outputs()[0].name]
        self._input = session.get_inputs()[0].name
        facts = manifest.features
        self.imputed = np.array([feature.fill for feature in facts])
        ranges = [float32_range(feature.min, feature.max) for feature in facts]
        self.bounds = Bounds([low for low, _ in ranges], [high for _, high in ranges])
        self.key = int(np.argmax([feature.importance for feature in facts]))
        self.key_low, self.key_high = float32_range(facts[self.key].quantiles[0], facts[self.key].quantiles[-1])

    def predict(self, rows: Matrix) -> list[float]:
        """Predict complete rows (n, features); n values in the target's unit."""
        values: list[float] = []
        for first in range(0, len(rows), ROWS_PER_RUN):
            some = rows[first : first + ROWS_PER_RUN].astype(np.float32)
            [answers] = self._session.run(self._outputs, {self._input: some})
            values += answers.ravel().tolist()
        return values


def load_model(models: Path, pin: Pin, product: Product) -> Model:
    """Load the pinned version; raises `PackageError` if it is damaged, unfit for the product or fails its self-test."""
    package = read_package(package_folder(models, pin), pin.sha256)
    manifest = package.manifest
    _check_fit(manifest, pin, product)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # ONNX Runtime's arena keeps the memory of the largest batch, 15 MB, and is no faster.
    options.enable_cpu_mem_arena = False
    try:
        session = ort.InferenceSession(package.model, options, providers=["CPUExecutionProvider"])
        model = Model(pin, manifest, session)
        _self_test(model)
    except PackageError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise PackageError(f"{pin.name} {pin.version}: the model does not run: {error}") from error
    return model


def _check_fit(manifest: Manifest, pin: Pin, product: Product) -> None:
    names = tuple(feature.name for feature in manifest.features)
    built, installed = manifest.libraries.get("onnxruntime", "0"), ort.__version__
    rules = [
        (manifest.product == pin.name == product.name, f"is of product {manifest.product}, not {product.name}"),
        (manifest.version == pin.version, f"says that it is version {manifest.version}"),
        (manifest.schema_hash == product.schema_hash, "was trained on another schema than product.yaml has now"),
        (names == product.feature_names, f"has the features {', '.join(names)}"),
        (_release(built) <= _release(installed), f"was checked with onnxruntime {built}, this is {installed}"),
        (bool(manifest.golden), "has no golden requests"),
        (_is_time(manifest.created_at), f"was made at {manifest.created_at!r}, which is no ISO 8601 time"),
        (
            manifest.interval.coverage == product.training.interval_coverage,
            f"has intervals of coverage {manifest.interval.coverage}, not {product.training.interval_coverage}",
        ),
        (
            manifest.golden_tolerance <= LARGEST_TOLERANCE,
            f"tolerates {manifest.golden_tolerance} in its golden answers",
        ),
    ]
    for holds, rule in rules:
        if not holds:
            raise PackageError(f"{pin.name} {pin.version}: {rule}")


def _self_test(model: Model) -> None:
    golden = model.manifest.golden
    rows = np.array([case.row for case in golden])
    wanted = np.array([case.prediction for case in golden])
    for row in rows:  # one by one, as in requests: this also warms up the session
        model.predict(row[None])
    # All of them twice in one batch: a model that answers a batch with one value must not pass.
    answers, wanted = np.array(model.predict(np.concatenate([rows, rows]))), np.concatenate([wanted, wanted])
    if answers.shape != wanted.shape:
        raise PackageError(f"{model.pin.name} {model.pin.version}: gives {answers.size} answers to {wanted.size} rows")
    worst = float(np.abs(answers - wanted).max())
    if not worst <= model.manifest.golden_tolerance:
        raise PackageError(
            f"{model.pin.name} {model.pin.version}: a golden answer is off by {worst:g} "
            f"(allowed {model.manifest.golden_tolerance:g})"
        )


def _is_time(text: str) -> bool:
    try:
        read_time(text)
    except ValueError:
        return False
    return True


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
