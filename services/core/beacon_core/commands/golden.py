"""Send the released package's golden requests to a server. Exit 0 all answers match, 1 one differs, 75 no answer."""

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import message_of
from beacon_core.model_package.golden import find_mismatch, golden_features, post_features
from beacon_core.model_package.release import package_folder, read_release
from beacon_core.model_package.signature import read_trusted, trust_of
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, run_job
from beacon_core.platform.settings import load_settings

WRONG = 1
TIMEOUT_SECONDS = 10.0


def main() -> int:
    """Send each golden row of the released package; the answers must have its values and version."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("url", help="of the prediction route")
    given = parser.parse_args()
    settings = load_settings()
    pin = read_release(settings.release_file).model
    manifest = read_trusted(package_folder(settings.models_dir, pin), pin.sha256, trust_of(settings)).manifest
    headers = {"X-API-Key": settings.api_key} if settings.api_key else {}
    try:
        answers = [
            (post_features(given.url, golden_features(manifest, golden), TIMEOUT_SECONDS, headers), golden)
            for golden in manifest.golden
        ]
    except OSError as error:
        log.error("%s does not answer: %s", given.url, message_of(error))
        return TRY_AGAIN
    problems = [problem for answer, golden in answers if (problem := find_mismatch(answer, manifest, golden))]
    for problem in problems:
        log.error(problem)
    log.info(
        f"{len(manifest.golden) - len(problems)} of {len(manifest.golden)} answers are those of version {pin.version}"
    )
    return WRONG if problems or not manifest.golden else 0


def run() -> int:
    """Send the released package's golden requests to a server."""
    return run_job("golden", main)
