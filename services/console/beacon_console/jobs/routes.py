"""The pages of job runs, and the form that requests a retraining."""

from typing import Any

from flask import Flask, redirect, render_template, request

from beacon_console.login.acting import Acting
from beacon_console.parameters import found_or_404
from beacon_core.data import job_runs, retrain_requests
from beacon_core.data.client import DatabaseClient
from beacon_core.domain.errors import BeaconError
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.web.flask_app import root

RECENT = 100
"""Rows shown on the list of runs."""
RECENT_REQUESTS = 10


def add_jobs(app: Flask, product: Product, database: DatabaseClient, acting: Acting) -> None:
    """Add the pages, and the route of the form."""

    @app.get("/jobs")
    def job_list() -> str:
        job = request.args.get("job")
        with database.connect() as connection:
            statuses = job_runs.statuses(connection)
            if job is not None and job not in {status.name for status in statuses}:
                raise BeaconError("not_found", f"No job named {job[:64]} ever ran.")
            runs = job_runs.newest_stages(connection, RECENT, job)
            requested = retrain_requests.newest(connection, RECENT_REQUESTS)
        return render_template(
            "job_runs.html", runs=runs, statuses=statuses, job=job, requested=requested, now=clock.now()
        )

    @app.get("/jobs/<number>")
    def job_run(number: str) -> str:
        sentence = f"There is no job run {number[:64]}."
        with database.connect() as connection:
            # Beyond 18 digits no database has a number for it.
            found = job_runs.run_of(connection, int(number)) if number.isdecimal() and len(number) < 19 else None
        run, stages = found_or_404(found, sentence)
        return render_template("job_run.html", run=run, stages=stages, now=clock.now())

    @app.post("/retraining")
    def request_retraining() -> Any:
        person = acting.person("operator")
        reason = request.form.get("reason", "")
        with database.begin() as connection:
            retrain_requests.ask(connection, product.name, person, reason, clock.now())
        return redirect(f"{root()}/jobs#retraining", 303)
