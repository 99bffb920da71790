"""KServe's own client, V1 and V2, JSON and binary. Its environment is its own (`make test-clients` brings it)."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
from support.inference import Inference
from support.packages import row_of

from beacon_core.domain.product import Product
from beacon_core.platform.settings import ROOT


def test_kserve_client_gets_the_same_answer_every_way(home: Path, tmp_path: Path, product: Product) -> None:
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    script = Path(__file__).with_name("kserve_client.py")
    rows = [row_of(product)] * 2
    with Inference(home, tmp_path) as server:
        arguments = [server.url, product.name, json.dumps(rows)]
        run = subprocess.run(
            [uv, "run", "--script", str(script), *arguments], capture_output=True, text=True, check=False
        )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads(run.stdout.splitlines()[-1])
    for way in ("v1", "v2_False", "v2_True"):
        np.testing.assert_allclose(found[way], 20 + 0.001 * np.array(rows).sum(axis=1), atol=1e-4)
    assert (found["v2_False_id"], found["v2_True_id"]) == ("mine", "mine")
    assert all(found[name] is True for name in ("v1_ready", "v2_live", "v2_ready", "v2_model_ready"))
