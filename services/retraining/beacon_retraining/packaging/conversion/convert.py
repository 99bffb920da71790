"""Convert: models of other libraries as ONNX, by converters that are kept. It runs in the sandbox alone.

| kind | read by | converted by |
| --- | --- | --- |
| onnx | ONNX Runtime | nothing |
| lightgbm | LightGBM's Booster | onnxmltools, in double |
| xgboost | XGBoost's Booster | onnxmltools |
| catboost | CatBoost | its own `save_model` |
| pickle | joblib | by what it holds: one of the above, or skl2onnx |

The original answers the same rows, so that the two can be compared.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import ForeignModelError
from beacon_retraining.packaging.conversion.binding import bind, places_of
from beacon_retraining.packaging.conversion.converted import CLASSIFIER, Converted, first_line, libraries
from beacon_retraining.packaging.conversion.facts import ModelFacts
from beacon_retraining.packaging.conversion.wrap import feeds, recoded
from beacon_retraining.training.answers import answers_of
from beacon_retraining.training.columns import ModelColumn

FEATURES = "features"
OPSET = 18
"""onnxmltools writes 8, in which floats are not compared."""
OPENMP = (
    "LightGBM's library does not load: {}. It needs OpenMP of the machine: install the package libgomp1 (Debian, "
    "Ubuntu), libgomp (Fedora, Alpine) or libomp (Homebrew)"
)


def convert(kind: str, file: Path, columns: Sequence[ModelColumn], numbers: Matrix) -> Converted:
    """Convert a file's model, and let the original answer `numbers` (rows, columns); raises `ForeignModelError`."""
    if kind == "onnx":
        return _onnx(file, columns, numbers)
    if kind == "pickle":
        return of_object(_unpickled(file), columns, numbers)
    try:
        if kind == "lightgbm":
            return _lightgbm(lightgbm().Booster(model_file=str(file)), columns, numbers)
        if kind == "xgboost":
            return _xgboost(_xgboost_booster(file), columns, numbers)
        return _catboost(_catboost_model(file), columns, numbers)
    except ForeignModelError:
        raise
    except Exception as error:  # the libraries' exceptions have no common base
        raise ForeignModelError(f"cannot be read and converted as a model of {kind}: {first_line(error)}") from error


def of_object(model: Any, columns: Sequence[ModelColumn], numbers: Matrix) -> Converted:
    """Convert what a pickle holds; raises `ForeignModelError`."""
    module = type(model).__module__.partition(".")[0]
    if module == "lightgbm":
        return _lightgbm(getattr(model, "booster_", model), columns, numbers)
    if module == "xgboost":
        return _xgboost(model.get_booster() if hasattr(model, "get_booster") else model, columns, numbers)
    if module == "catboost":
        return _catboost(model, columns, numbers)
    from beacon_retraining.packaging.conversion.convert_sklearn import of_estimator  # noqa: PLC0415 - takes seconds

    return of_estimator(model, columns, numbers)


def lightgbm() -> Any:
    """The library; raises `ForeignModelError` where the machine lacks what it needs."""
    try:
        import lightgbm as library  # noqa: PLC0415 - needs OpenMP of the machine
    except OSError as error:
        raise ForeignModelError(OPENMP.format(first_line(error))) from error
    return library


def floats_below(thresholds: Matrix) -> NDArray[np.float32]:
    """The largest float32 not above each threshold: no value of float32 changes sides, as it would by the nearest."""
    near = thresholds.astype(np.float32)
    below: NDArray[np.float32] = np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
    return below


def rounded_down(booster: Any) -> Any:
    """LightGBM's model with thresholds that float32 holds, as ONNX has them: the next one below each.

    A row's values are float32, so none of them changes sides. Rounded to the nearest, a value on a threshold would.
    """
    lines = []
    for line in booster.model_to_string(num_iteration=-1).split("\n"):
        if line.startswith("threshold="):
            exact = np.array(line.removeprefix("threshold=").split(), np.float64)
            line = "threshold=" + " ".join(repr(float(value)) for value in floats_below(exact))  # noqa: PLW2901 - its new form
        if not line.startswith("tree_sizes="):  # in bytes: they are others now
            lines.append(line)
    return lightgbm().Booster(model_str="\n".join(lines))


def _unpickled(file: Path) -> Any:
    import joblib  # noqa: PLC0415 - the limits hold before any library is loaded

    try:
        return joblib.load(file)
    except ModuleNotFoundError as error:
        raise ForeignModelError(
            f"the pickle needs the module {error.name}, which is not here: save the model in its library's own format, "
            "or as ONNX"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a pickle may raise anything
        raise ForeignModelError(f"the pickle cannot be loaded: {type(error).__name__}: {first_line(error)}") from error


def _onnx(file: Path, columns: Sequence[ModelColumn], numbers: Matrix) -> Converted:
    from beacon_core.model_package.session import open_session  # noqa: PLC0415 - the limits hold before

    content = file.read_bytes()
    binding = bind(onnx.load_model_from_string(content), columns)
    try:
        session = open_session(content)
        (found,) = session.run([binding.output], feeds(binding, columns, numbers))
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise ForeignModelError(f"ONNX Runtime cannot run it: {first_line(error, 600)}") from error
    producer = session.get_modelmeta().producer_name or "ONNX"
    return Converted(content, answers_of(found, len(numbers)), ModelFacts(algorithm=f"ONNX of {producer}"))


def _lightgbm(booster: Any, columns: Sequence[ModelColumn], numbers: Matrix) -> Converted:
    from onnxmltools import convert_lightgbm  # noqa: PLC0415 - takes seconds
    from onnxmltools.convert.common.data_types import DoubleTensorType  # noqa: PLC0415

    objective = str(booster.dump_model(num_iteration=1).get("objective", ""))
    if objective.startswith(("binary", "multiclass", "cross_entropy")):
        raise ForeignModelError(CLASSIFIER.format(f"objective {objective}"))
    names = tuple(booster.feature_name())
    places = places_of(names, columns)
    recodings = _lightgbm_levels(booster, names, places, columns)
    pairs = {place: recodings[name] for place, name in zip(places, names, strict=True) if name in recodings}
    answers = booster.predict(recoded(numbers, places, {place: dict(own) for place, own in pairs.items()}))
    initial = [(FEATURES, DoubleTensorType([None, len(names)]))]
    model = onnx.version_converter.convert_version(
        convert_lightgbm(rounded_down(booster), initial_types=initial), OPSET
    )
    used = libraries("lightgbm", "onnxmltools")
    columns_named = tuple(columns[place].name for place in places)
    renamed = {columns[place].name: own for place, own in pairs.items()}
    facts = ModelFacts("LightGBM", used, columns_named, renamed)
    return Converted(model.SerializeToString(), answers_of(answers, len(numbers)), facts)


def _lightgbm_levels(
    booster: Any, names: Sequence[str], places: Sequence[int], columns: Sequence[ModelColumn]
) -> dict[str, list[tuple[float, float]]]:
    """LightGBM's number of each level of the columns that were pandas categories: their places in pandas' lists."""
    lists = booster.pandas_categorical or []
    if not lists:
        return {}
    dumped = booster.dump_model(num_iteration=1)["feature_infos"]
    coded = [name for name in names if dumped.get(name, {}).get("values")]
    if len(coded) != len(lists):
        raise ForeignModelError(
            f"was trained with {len(lists)} pandas categories, of which {len(coded)} can be told: train with category "
            "columns that the trees use, or with numbers"
        )
    found = {}
    for name, levels in zip(coded, lists, strict=True):
        column = columns[places[list(names).index(name)]]
        position = {level: float(at) for at, level in enumerate(levels)}
        own = (
            {float(at): text for at, text in enumerate(column.levels)}
            if column.levels is not None
            else {float(level): level for level in levels if isinstance(level, int | float)}
        )
        found[name] = [(number, position[level]) for number, level in own.items() if level in position]
        if not found[name]:
            raise ForeignModelError(
                f"column {name} was a category with the levels {levels[:5]}, none of which product.yaml has"
            )
    return found


def _xgboost_booster(file: Path) -> Any:
    import xgboost  # noqa: PLC0415 - takes a second

    booster = xgboost.Booster()
    booster.load_model(bytearray(file.read_bytes()))
    return booster


def _xgboost(booster: Any, columns: Sequence[ModelColumn], numbers: Matrix) -> Converted:
    import xgboost  # noqa: PLC0415 - takes a second
    from onnxmltools import convert_xgboost  # noqa: PLC0415 - takes seconds
    from onnxmltools.convert.common.data_types import FloatTensorType  # noqa: PLC0415

    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    if objective.startswith(("binary:", "multi:")):
        raise ForeignModelError(CLASSIFIER.format(f"objective {objective}"))
    if "c" in (booster.feature_types or []):
        raise ForeignModelError(
            "was trained with enable_categorical, and onnxmltools has no categorical splits of XGBoost: encode the "
            "categories as columns, or use LightGBM's"
        )
    names = tuple(booster.feature_names or (f"f{at}" for at in range(booster.num_features())))
    places = places_of(names, columns)
    # The converter wants XGBoost's own names, f0, f1, ...
    booster.feature_names, booster.feature_types = None, None
    answers = booster.predict(xgboost.DMatrix(numbers[:, list(places)]))
    model = convert_xgboost(booster, initial_types=[(FEATURES, FloatTensorType([None, len(names)]))])
    package = "xgboost-cpu" if _has("xgboost-cpu") else "xgboost"
    facts = ModelFacts("XGBoost", libraries(package, "onnxmltools"), tuple(columns[place].name for place in places))
    return Converted(model.SerializeToString(), answers_of(answers, len(numbers)), facts)


def _catboost_model(file: Path) -> Any:
    from catboost import CatBoost  # noqa: PLC0415 - takes a second

    model = CatBoost()
    model.load_model(str(file))
    return model


def _catboost(model: Any, columns: Sequence[ModelColumn], numbers: Matrix) -> Converted:
    loss = str(model.get_all_params().get("loss_function", ""))
    if loss.startswith(("Logloss", "CrossEntropy", "MultiClass")):
        raise ForeignModelError(CLASSIFIER.format(f"loss {loss}"))
    categories = model.get_cat_feature_indices()
    names = tuple(map(str, model.feature_names_))
    if categories:
        shown = ", ".join(names[at] for at in categories)
        raise ForeignModelError(
            f"was trained with cat_features ({shown}), and CatBoost's ONNX has no categories: train on columns of "
            "numbers (one-hot, or the level's number), or bring a scikit-learn pipeline"
        )
    places = places_of(names, columns)
    answers = model.predict(numbers[:, list(places)])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        model.save_model(str(file), format="onnx")
        content = file.read_bytes()
    facts = ModelFacts("CatBoost", libraries("catboost"), tuple(columns[place].name for place in places))
    return Converted(content, answers_of(answers, len(numbers)), facts)


def _has(package: str) -> bool:
    try:
        return bool(libraries(package))
    except ModuleNotFoundError:
        return False
