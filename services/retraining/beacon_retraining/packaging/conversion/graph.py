"""A converted model between the input and the output that every package has."""

from collections.abc import Sequence
from typing import NamedTuple

from beacon_retraining.packaging.conversion.binding import Binding, bind
from beacon_retraining.packaging.conversion.facts import ModelFacts
from beacon_retraining.packaging.conversion.graph_checks import read_graph
from beacon_retraining.packaging.conversion.wrap import wrap
from beacon_retraining.training.columns import ModelColumn


class PackageGraph(NamedTuple):
    """The serialized graph of a package, and which columns its model takes."""

    content: bytes
    binding: Binding


def package_graph(content: bytes, facts: ModelFacts, columns: Sequence[ModelColumn]) -> PackageGraph:
    """Check and wrap what a conversion gave; raises `ForeignModelError`."""
    model = read_graph(content)
    recodings = {name: dict(pairs) for name, pairs in facts.recodings.items()}
    binding = bind(model, columns, facts.names, recodings)
    wrapped = wrap(model, binding, columns)
    read_graph(wrapped)
    return PackageGraph(wrapped, binding)
