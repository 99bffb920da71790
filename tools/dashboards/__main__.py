"""Write charts/monitoring/files/dashboards anew: `python -m tools.dashboards`."""

import json

from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT
from tools.dashboards import models, pipeline, serving
from tools.dashboards.grafana import Dashboard, document

FOLDER = ROOT / "charts" / "monitoring" / "files" / "dashboards"


def boards() -> tuple[Dashboard, ...]:
    """Every dashboard; features and segments are those of product.yaml, limits those of policy.yaml."""
    product = load_product(ROOT / "feature_repo" / "product.yaml")
    return (
        *(serving.service(), serving.requests(), serving.features()),
        *(models.model(product), models.drift(product)),
        *(pipeline.jobs(), pipeline.promotion()),
    )


def texts() -> dict[str, str]:
    """The file of each dashboard, by name."""
    return {f"{board.uid}.json": json.dumps(document(board), indent=1) + "\n" for board in boards()}


def main() -> None:
    """Write them; one that is no longer made goes."""
    FOLDER.mkdir(exist_ok=True)
    made = texts()
    for file in FOLDER.glob("*.json"):
        if file.name not in made:
            file.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
