"""What a person types first: `beacon new`."""

import subprocess
import sys
from pathlib import Path

from any_table.tables import Table
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT


def propose(table: Table, folder: Path) -> Product:
    """The product that `beacon new` writes for the table; raises SystemExit with its words where it does not."""
    command = [*job("new"), table.name, *table.options, "--products", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return load_product(folder / table.name / "product.yaml")


def job(name: str) -> list[str]:
    """The command of a job of the checkout."""
    return [sys.executable, str(ROOT / "jobs" / f"{name}.py")]
