"""Every command of `beacon`: one line each. After a change, `python -m tools.cli_page` writes its arguments and page.

A command without an environment is a client: it needs a running server and no checkout. All others are run by the
environment of the checkout that has what they import (decision 5), as `python -m MODULE NAME ARGUMENT ...`.
"""

from typing import NamedTuple

DISPATCHER = "beacon_core.commands.beacon"
DAILY, MODELS, DATA, CARE = "Every day", "Models", "Data", "Care"
SERVING = ("inference", "prediction-log", "feature-serving", "console")
ALL = (*SERVING, "retraining", "drift-profiling", "promotion", "laptop")


class Command(NamedTuple):
    """A command: where it is listed, the environment that runs it, and what documents its result in JSON."""

    name: str
    group: str
    environment: str = ""
    result: str = "beacon_core.platform.results:Done"
    """MODULE:STRUCT of what `--json` prints."""
    needs: tuple[str, ...] = ()
    """Further environments, of the processes that it starts."""
    trains: bool = False
    """A product's own training code is run, in the environment of its libraries."""
    on_engine: bool = False
    """It reads the log, or starts what does: BEACON_ENGINE says where that runs."""
    stays: bool = False
    """It talks to the terminal itself, so this process becomes the command."""


COMMITTED = "beacon_retraining.pipeline.context:RegistrationResult"
ENDED = "beacon_promotion.controller.state_machine:Ended"
DECIDED = "beacon_retraining.commands.approve:DecisionResult"

COMMANDS = (
    Command(
        "run", DAILY, "laptop", "beacon_laptop.announcement:ReadyResult", ALL, trains=True, on_engine=True, stays=True
    ),
    Command("new", DAILY, "retraining", "beacon_retraining.commands.new:NewResult"),
    Command("check", DAILY, "retraining", "beacon_retraining.commands.check:CheckResult", trains=True),
    Command("predict", DAILY, result="beacon_cli.predict:PREDICTION"),
    Command("explain", DAILY, result="beacon_cli.explain:EXPLANATION"),
    Command("score", DAILY, "retraining", "beacon_inference.commands.score:ScoreResult", on_engine=True),
    Command("demo", DAILY, "laptop", needs=("drift-profiling", "retraining"), trains=True, on_engine=True, stays=True),
    Command("retrain", MODELS, "laptop", COMMITTED, ("retraining",), trains=True, on_engine=True),
    Command("register", MODELS, "foreign", COMMITTED),
    Command("promote", MODELS, "promotion", ENDED),
    Command("rollback", MODELS, "promotion", ENDED),
    Command("approve", MODELS, "retraining", DECIDED),
    Command("reject", MODELS, "retraining", DECIDED),
    Command("served", MODELS, "promotion", "beacon_promotion.commands.promote:ServedResult"),
    Command("history", MODELS, "promotion", "beacon_promotion.commands.promote:HistoryResult"),
    Command("champion", MODELS, "retraining", "beacon_core.model_package.release:Release"),
    Command("values", MODELS, "promotion"),
    Command("drift", DATA, "drift-profiling", "beacon_drift_profiling.commands.drift:DriftRunResult", on_engine=True),
    Command("lineage", DATA, "retraining", "beacon_retraining.commands.lineage:LineageResult"),
    Command("data", DATA, "retraining"),
    Command("materialize", DATA, "feature-serving"),
    Command("skew", DATA, "feature-serving"),
    Command("cadence", DATA, "retraining"),
    Command("dvc", DATA, "retraining", result="", stays=True),
    Command("forget", DATA, "retraining", "beacon_core.commands.forget:ForgetResult"),
    Command("expire", DATA, "retraining", "beacon_core.commands.expire:ExpireResult"),
    Command("backup", CARE, "retraining", "beacon_retraining.commands.backup:BackupResult"),
    Command("restore", CARE, "retraining", "beacon_retraining.commands.restore:RestoreResult"),
    Command("doctor", CARE, "laptop", "beacon_laptop.doctor.findings:DoctorResult"),
    Command("keys", CARE, "laptop", "beacon_core.commands.keys:NewKeyResult"),
    Command("signing-keys", CARE, "laptop"),
    Command("sign", CARE, "retraining"),
    Command("migrate", CARE, "laptop"),
    Command("fetch-model", CARE, "laptop"),
    Command("golden", CARE, "laptop"),
)
