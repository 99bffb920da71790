"""Print where a prediction comes from: model version, run, data, code. Exit 0 found, 1 not found, 75 MLflow is away."""

import msgspec

from beacon_core.data.prediction_log.reading import open_log
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import Settings
from beacon_retraining.registry.lineage import trace
from beacon_retraining.registry.register import Registry


class LineageResult(msgspec.Struct, frozen=True):
    """Where a prediction comes from, from the answer back to data and code."""

    prediction: str
    """Its id, its value and the unit."""
    answered: str
    """When, in ISO 8601."""
    request: str
    """The request's id."""
    trace: str
    """The trace's id; - without one."""
    model: str
    """The product and the version."""
    package: str
    """The digest of the package."""
    verdict: str
    """The gate's verdict and its reason; - without one."""
    run: str
    """The address of the run in MLflow."""
    algorithm: str
    """The family of the model."""
    data: str
    """The fingerprint of the training data, and its rows."""
    rows: str
    """The command that lists the rows."""
    schema: str
    """The hash of the schema."""
    code: str
    """The revision, and the key of all inputs."""


def main(settings: Settings) -> int:
    """One line per step."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("prediction", help="the prediction's id, as the answer gave it")
    given = parser.parse_args()
    product = load_product(settings.product)
    steps = trace(open_log(settings), Registry(settings.mlflow_address), product, given.prediction)
    for name, value in steps.items():
        results.say(f"{name:<11}{value}")
    results.give(LineageResult(**steps))
    return 0


def run() -> int:
    """Print the model version, run, data and code behind a prediction."""
    return run_command("lineage", main)
