"""Debian's Prometheus as a process of the tests: the chart's rules, every target looked at each second."""

import json
import shutil
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from support.features import Process
from support.ports import free_port

from beacon_core.platform.settings import ROOT

RULES = ROOT / "charts" / "monitoring" / "files" / "rules"


class Prometheus(Process):
    """A Prometheus that scrapes `targets` (job -> port); `probes` are targets of the prober (name -> its port).

    All series have `labels`, as the chart gives them.
    """

    def __init__(self, folder: Path, targets: Mapping[str, int], probes: Mapping[str, int], **labels: str) -> None:
        program = shutil.which("prometheus")
        assert program, "prometheus is needed: apt-get install prometheus"
        jobs: list[dict[str, Any]] = [
            {
                "job_name": job,
                "honor_labels": True,
                "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}],
            }
            for job, port in targets.items()
        ]
        jobs += [
            {
                "job_name": "beacon-probe",
                "metrics_path": "/probe",
                "params": {"target": [name]},
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
            for name, port in probes.items()
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES / "*.yaml")],
            "scrape_configs": jobs,
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.port = free_port()
        options = ["config.file=prometheus.yml", "storage.tsdb.path=tsdb", "enable-feature=exemplar-storage"]
        options.append(f"web.listen-address=127.0.0.1:{self.port}")
        super().__init__([program, *(f"--{option}" for option in options)], folder)
        self.wait_until(lambda: self.get("/-/ready"), 60)

    def get(self, path: str, **parameters: Any) -> str:
        """What it answers to a GET."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}?{query}", timeout=60) as answer:
            return str(answer.read().decode())

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples of an instant query, each with its `metric` and `value`."""
        found = json.loads(self.get("/api/v1/query", query=expr))["data"]
        return [{"metric": {}, "value": found["result"]}] if found["resultType"] == "scalar" else list(found["result"])

    def exemplars(self, selector: str) -> set[str]:
        """The traces that the exemplars of a series point to."""
        given = {"query": selector, "start": time.time() - 3600, "end": time.time() + 60}
        found = json.loads(self.get("/api/v1/query_exemplars", **given))["data"]
        return {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}
