"""A converted graph, tried: all rows twice, and some of them alone."""

import numpy as np

from beacon_core.model_package.session import open_session
from beacon_retraining.data.dataset import Matrix
from beacon_retraining.errors import ForeignModelError
from beacon_retraining.packaging.export import run, run_all

SINGLE_ROWS = 8
ALIKE = 1e-4
"""How far the answer to a row may be from that in a batch, as a share of the answers' spread."""


def try_graph(content: bytes, numbers: Matrix) -> Matrix:
    """The answers (rows,) of a package's graph to `numbers` (rows, columns); raises `ForeignModelError`."""
    try:
        session = open_session(content)
        answers = run_all(session, numbers)
        again = run_all(session, numbers)
        alone = np.concatenate([run(session, row[None]) for row in numbers[:SINGLE_ROWS]])
    except Exception as error:
        raise ForeignModelError(f"ONNX Runtime cannot run it: {str(error).strip()[:600]}") from error
    if answers.shape != (len(numbers),) or len(alone) != min(SINGLE_ROWS, len(numbers)):
        raise ForeignModelError(f"gives {answers.size} answers to {len(numbers)} rows, must be one number per row")
    if not np.array_equal(answers, again, equal_nan=True):
        raise ForeignModelError("gives other answers to the same rows when it is asked again: a model must repeat")
    finite = np.isfinite(answers[:SINGLE_ROWS]) & np.isfinite(alone)
    worst = np.abs(answers[:SINGLE_ROWS] - alone)[finite].max(initial=0.0)
    if worst > ALIKE * max(float(np.nanstd(answers)), 1e-30):
        raise ForeignModelError(
            f"answers a row by {worst:.3g} otherwise when it comes in a batch: answers must not depend on other rows"
        )
    return answers
