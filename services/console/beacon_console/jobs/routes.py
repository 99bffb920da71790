"""The pages of job runs."""

from flask import Flask, render_template, request

from beacon_console.jobs import queries as jobs
from beacon_console.parameters import known
from beacon_console.reading import Store
from beacon_core.domain.errors import BeaconError
from beacon_core.platform import clock


def add_jobs(app: Flask, store: Store) -> None:
    """Add the pages of job runs."""

    @app.get("/jobs")
    def job_runs() -> str:
        job = request.args.get("job")
        with store.reading() as connection:
            standing = jobs.jobs_of(connection)
            if job is not None and job not in {item.name for item in standing}:
                raise BeaconError("not_found", f"No job named {job[:64]} ever ran.")
            runs = jobs.runs_of(connection, job)
        return render_template("job_runs.html", runs=runs, standing=standing, job=job, now=clock.now())

    @app.get("/jobs/<number>")
    def job_run(number: str) -> str:
        sentence = f"There is no job run {number[:64]}."
        with store.reading() as connection:
            # Beyond 18 digits no database has a number for it.
            found = jobs.run_of(connection, int(number)) if number.isdecimal() and len(number) < 19 else None
        run, stages = known(found, sentence)
        return render_template("job_run.html", run=run, stages=stages, now=clock.now())
