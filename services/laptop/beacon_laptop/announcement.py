"""What `make run` says when all is ready: the addresses, two commands that work, and what to try next."""

import shutil

import msgspec

from beacon_core.platform import results
from beacon_core.platform.make_arguments import from_here, product_argument
from beacon_core.platform.settings import Settings
from beacon_laptop.example import Body, beacon_command, curl_command
from beacon_laptop.processes import BEACON
from beacon_laptop.reporter import report

TRY_NEXT = (
    ("demo", "sixty days in minutes: drift, a retraining, a promotion"),
    ("retrain", "a new model, compared with this one"),
    ("drift", "the predictions compared with the training"),
    ("doctor", "what is wrong, if anything is"),
)


class ReadyResult(msgspec.Struct, frozen=True):
    """What runs, printed when it is ready; the command goes on."""

    predictions: str
    """The address of inference."""
    features: str | None
    """The address of feature serving; null for a product without an entity."""
    mlflow: str
    """The address of MLflow, which may need some seconds more."""
    console: str
    """The address of the console."""
    state: str
    """The folder of all state."""
    logs: str
    """The folder of the logs."""
    seconds: float
    """From the start until it was ready."""
    examples: list[dict[str, object]]
    """Bodies for `POST /v1/predict` that are answered."""


def announce(
    settings: Settings, bodies: list[Body], seconds: float, *, has_features: bool, mlflow_is_ready: bool
) -> None:
    """Report the addresses, two example requests, and what to try next."""
    host = f"http://{settings.host}"
    inference, console = f"{host}:{settings.inference_port}", f"{host}:{settings.console_port}"
    feature_serving = f"{host}:{settings.features_port}" if has_features else None
    logs = settings.home / "logs"
    if results.is_json():
        places = (inference, feature_serving, settings.mlflow_address, console, str(settings.home), str(logs))
        results.print_now(ReadyResult(*places, round(seconds, 1), list(bodies)))
        return
    features = (
        f"{feature_serving}   (metrics on {settings.features_metrics_port})" if has_features else "none: no entity"
    )
    later = "" if mlflow_is_ready else "   (needs some seconds more)"
    report(f"\nbeacon is ready after {seconds:.1f} s. Ctrl-C stops everything.", "bold")
    commands = [(f"make {name}{product_argument(settings)}", text) for name, text in TRY_NEXT]
    width = max(len(command) for command, _ in commands) + 2
    lines = [
        "",
        f"  predictions      {inference}/docs   (metrics on {settings.inference_metrics_port})",
        f"  features         {features}",
        f"  MLflow           {settings.mlflow_address}{later}",
        f"  console          {console}",
        f"  state            {settings.home}",
        f"  logs             {logs}   (JSON, a file per process)",
        "",
        f"Request a prediction, {'by entity or ' if has_features else ''}by features:",
        "",
        *[_command(settings, inference, body) for body in bodies],
        "",
        "Try next, in another terminal:",
        "",
        *[f"  {command:<{width}} {text}" for command, text in commands],
        f"  {'make help':<{width}} what else there is, and {from_here(BEACON)} --help",
        "",
    ]
    report("\n".join(lines))


def _command(settings: Settings, inference: str, body: Body) -> str:
    """A command to paste that requests a prediction: by curl, or by `beacon` on a machine that has no curl."""
    if shutil.which("curl"):
        return curl_command(f"{inference}/v1/predict", body, has_key=bool(settings.api_key))
    return beacon_command(str(from_here(BEACON)), inference, body)
