"""Build the dashboards into charts/monitoring, which installs them: `make dashboards`."""

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, load_settings
from tools.dashboards import models, pipeline, serving

FOLDER = ROOT / "charts" / "monitoring" / "files" / "dashboards"


def boards() -> tuple[Dashboard, ...]:
    """Every dashboard; features and segments are those of BEACON_PRODUCT, limits those of the policy beside it."""
    product = load_product(load_settings().product)
    return (
        *(serving.service(), serving.requests(), serving.features()),
        *(models.model(product), models.drift(product)),
        *(pipeline.jobs(), pipeline.promotion(models.in_unit(product))),
    )


def texts() -> dict[str, str]:
    """The file of each dashboard, by name."""
    return {f"{board.uid}.json": json.dumps(document(board), indent=1) + "\n" for board in boards()}


def document(board: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana reads it. The SDK puts links and annotations into a menu; ours are in sight."""
    found: dict[str, Any] = json.loads(JSONEncoder().encode(board))
    for each in (*found["links"], *found["annotations"]["list"]):
        del each["placement"]
    return found


def write(folder: Path) -> None:
    """Write every dashboard into `folder`, and remove the files of dashboards that no longer exist."""
    folder.mkdir(exist_ok=True)
    made = texts()
    for file in folder.glob("*.json"):
        if file.name not in made:
            file.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(FOLDER)
