"""What a conversion gives, and the checks of the original's own answers."""

from importlib.metadata import version
from typing import NamedTuple

from beacon_retraining.data.dataset import Matrix
from beacon_retraining.packaging.conversion.facts import ModelFacts

CLASSIFIER = "is a classifier ({}): a regression is needed, whose answer is one number per row"


class Converted(NamedTuple):
    """A model as ONNX, the answers (rows,) of the original, and what is known of it."""

    content: bytes
    answers: Matrix
    facts: ModelFacts


def libraries(*names: str) -> dict[str, str]:
    """The versions of the libraries that a conversion used."""
    return {name: version(name) for name in names}


def first_line(error: Exception, most: int = 300) -> str:
    """The beginning of an error's message, which may be pages long."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:most]
