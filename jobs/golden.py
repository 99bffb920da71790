"""Ask a served model its own golden requests. Exit 0 every answer is right, 1 one is wrong, 75 nobody answers."""

import argparse
import json
import math
import sys
import urllib.error
import urllib.request
from typing import Any

from beacon_core.manifest import Golden, Manifest, read_package
from beacon_core.release import package_folder, read_release
from beacon_core.settings import load_settings

WRONG, TRY_AGAIN = 1, 75
TIMEOUT_SECONDS = 10.0


def main() -> int:
    """Post each golden row of the released package; value and version must be the package's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="of the prediction route")
    given = parser.parse_args()
    settings = load_settings()
    pin = read_release(settings.release_file).model
    manifest = read_package(package_folder(settings.models_dir, pin), pin.sha256).manifest
    try:
        problems = [problem for golden in manifest.golden if (problem := check(given.url, manifest, golden))]
    except OSError as error:
        print(f"{given.url} does not answer: {error}", file=sys.stderr)
        return TRY_AGAIN
    for problem in problems:
        print(problem, file=sys.stderr)
    print(
        f"{len(manifest.golden) - len(problems)} of {len(manifest.golden)} answers are those of version {pin.version}"
    )
    return WRONG if problems or not manifest.golden else 0


def check(url: str, manifest: Manifest, golden: Golden) -> str:
    """One question; why the answer is wrong, or nothing."""
    features = {facts.name: value for facts, value in zip(manifest.features, golden.row, strict=True)}
    answer = _ask(url, {"features": features})
    version, value = answer.get("model", {}).get("version"), answer.get("prediction")
    if version != manifest.version:
        return f"version {version} answers, not {manifest.version}: {answer}"
    if value is None or not math.isclose(value, golden.prediction, abs_tol=max(manifest.golden_tolerance, 1e-6)):
        return f"{features}: {value}, not {golden.prediction}"
    return ""


def _ask(url: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - the operator's address
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            found: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        found = {"status": error.code, "body": error.read().decode(errors="replace")}
    return found


if __name__ == "__main__":
    sys.exit(main())
