"""The estimator of an entry point as a package's graph: converted and tried in its process, compared on every row."""

from importlib.util import find_spec

from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import ForeignModelError
from beacon_retraining.packaging.conversion.converted import Converted
from beacon_retraining.packaging.conversion.graph import package_graph
from beacon_retraining.packaging.conversion.parity import check_parity
from beacon_retraining.packaging.conversion.trial import try_graph
from beacon_retraining.training.entry_point.errors import refusal
from beacon_retraining.training.entry_point.model import EntryPointModel
from beacon_retraining.training.entry_point.served import Served
from beacon_retraining.training.libraries import CONVERTERS


def check_converters(function: str) -> None:
    """Raise `EntryPointError` where this environment cannot write an estimator as ONNX."""
    missing = [name for name in CONVERTERS if find_spec(name) is None]
    if missing:
        raise refusal(
            function,
            f"{' and '.join(missing)} are not installed here: it needs the dependency group training, which `make "
            "retrain` and `make run` install (an image: docs/how-to/bring-your-own-model.md)",
        )


def export_entry_point(model: EntryPointModel, columns: Matrix, spread: float) -> tuple[bytes, float]:
    """The graph, and its largest difference from the estimator in the target's unit.

    Raises `EntryPointError` for an estimator that cannot be converted, or differs as ONNX. `spread` is the target's
    standard deviation.
    """
    converted: Converted = model.ask("the conversion to ONNX", _converted, columns)
    try:
        content = package_graph(converted.content, converted.facts, model.columns).content
        answers = model.ask("the model as ONNX", _tried, content, columns)
        parity = check_parity(answers, model.predict(columns), spread)
    except ForeignModelError as error:
        raise refusal(model.entry_point.function, str(error)) from error
    return content, parity


def _converted(served: Served, columns: Matrix) -> Converted:
    from beacon_retraining.packaging.conversion.convert import of_object  # noqa: PLC0415 - only its process needs it

    return of_object(served.estimator, served.columns, columns)


def _tried(_served: Served, content: bytes, columns: Matrix) -> Matrix:
    return try_graph(content, columns)
