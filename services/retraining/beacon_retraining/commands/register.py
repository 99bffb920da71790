"""Bring a finished model: ONNX, or one of scikit-learn, LightGBM, XGBoost or CatBoost, with labelled rows.

It becomes a version of the product with a verdict, and is promoted as a model of `beacon retrain` is.
Exit 0 done, 1 refused, 65 bad data, 75 try again later.
"""

from pathlib import Path

from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings


def main(settings: Settings) -> int:
    """Register one model."""
    parser = CommandParser(description=__doc__)
    parser.add_argument(
        "model", metavar="MODEL", help="a file, a folder that MLflow wrote, or runs:/ID/PATH, models:/NAME/VERSION"
    )
    parser.add_argument(
        "--rows", type=Path, required=True, metavar="FILE", help="labelled rows that the model has not seen"
    )
    parser.add_argument(
        "--training-rows", type=Path, metavar="FILE", help="rows that it was trained on: ranges and profile follow them"
    )
    parser.add_argument("--name", default="", help="of the algorithm, for the card (default: what the file tells)")
    parser.add_argument("--note", default="", help="a sentence for the card and MLflow")
    parser.add_argument(
        "--trust-pickle", action="store_true", help="load a pickle, which runs code of whoever wrote it (sandboxed)"
    )
    given = parser.parse_args()
    product = load_product(settings.product)
    from beacon_retraining.foreign.register import RegisterOptions, register  # noqa: PLC0415 - MLflow takes seconds

    options = RegisterOptions(given.model, given.rows, given.training_rows, given.trust_pickle, given.name, given.note)
    results.give(register(settings, product, options, results.say))
    return 0


def run() -> int:
    """Bring a finished model of another library."""
    return run_command("register", main)
