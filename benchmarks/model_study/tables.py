"""The tables of the study: files that are named, and tables that packages ship."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pandas as pd
from any_table.proposed import propose
from any_table.tables import Table
from retraining.base import base_dataset
from sklearn.datasets import load_diabetes

from beacon_core.domain.product import Product
from beacon_retraining.data.dataset import Dataset, refingerprinted
from beacon_retraining.training.splits import Index


class StudyTable(msgspec.Struct, frozen=True):
    """A table as a product that `beacon new` proposed for it, and its rows."""

    name: str
    product: Product
    dataset: Dataset


@contextmanager
def opened(name: str, file: Path, target: str, time: str = "") -> Iterator[StudyTable]:
    """The table of a file, as `beacon new` takes it."""
    with tempfile.TemporaryDirectory(prefix="beacon-study-") as folder:
        product = propose(Table(name, file.resolve(), target, time=time), Path(folder))
        yield StudyTable(name, product, base_dataset(product))


def shipped(folder: Path) -> list[tuple[str, Path, str, str]]:
    """Tables of installed packages as files: scikit-learn's diabetes, and plotly's gapminder."""
    import plotly  # noqa: PLC0415 - it is there with whylogs alone

    diabetes = folder / "diabetes.csv"
    load_diabetes(as_frame=True, scaled=False).frame.to_csv(diabetes, index=False)
    gapminder = folder / "gapminder.csv"
    source = Path(str(plotly.__file__)).parent / "package_data" / "datasets" / "gapminder.csv.gz"
    columns = ["continent", "year", "lifeExp", "pop", "gdpPercap"]
    pd.read_csv(source, usecols=columns).to_csv(gapminder, index=False)
    return [("diabetes", diabetes, "target", ""), ("gapminder", gapminder, "lifeExp", "")]


def subset(dataset: Dataset, rows: Index) -> Dataset:
    """Some rows of a dataset, with a fingerprint of their own."""
    places = {row: at for at, row in enumerate(rows.tolist())}
    others = {(places[row], column): text for (row, column), text in dataset.others.items() if row in places}
    return refingerprinted(
        msgspec.structs.replace(
            dataset,
            features=dataset.features[rows],
            target=dataset.target[rows],
            others=others,
            times=None if dataset.times is None else dataset.times[rows],
            weights=None if dataset.weights is None else dataset.weights[rows],
            groups=None if dataset.groups is None else dataset.groups[rows],
        )
    )
