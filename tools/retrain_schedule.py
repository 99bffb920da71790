"""Write policy.yaml's schedule of retraining into GitHub's workflow, which can read no file: `make retrain-schedule`.

With --check nothing is written, and another schedule there is an error.
"""

import argparse
import re
import sys
from pathlib import Path

from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT, load_settings

WORKFLOW = ROOT / ".github" / "workflows" / "retrain.yml"
CRON = re.compile(r'^( *- cron: )".*"$', re.MULTILINE)


def scheduled(text: str, product: Product) -> str:
    """The workflow's text with the product's schedule."""
    return CRON.sub(lambda match: f'{match[1]}"{product.policy.retraining.schedule}"', text)


def main(workflow: Path = WORKFLOW) -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if the schedule is another")
    given = parser.parse_args()
    text = workflow.read_text(encoding="utf-8")
    wanted = scheduled(text, load_product(load_settings().product))
    if given.check and wanted != text:
        print(f"{workflow}: its schedule is not that of policy.yaml: run `make retrain-schedule`", file=sys.stderr)
        return 1
    if not given.check:
        workflow.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
