"""Three models of a notebook's habits, registered in a real MLflow and answered by inference's own model."""

import json
from collections.abc import Iterator
from pathlib import Path

import joblib
import lightgbm
import mlflow
import msgspec
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostRegressor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from support.mlflow import mlflow_server
from support.settings import Settings

from beacon_core.data.database import open_store
from beacon_core.data.verdicts import newest
from beacon_core.domain.data_errors import DataError
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.release import read_release
from beacon_core.platform.product_file import load_product
from beacon_inference.models.model import load_model
from beacon_retraining.commands import register as command
from beacon_retraining.errors import ForeignModelError
from beacon_retraining.foreign.register import RegisterOptions, register
from beacon_retraining.registry.register import Registry

NUMBERS, TEXTS = ["size m", "age"], ["colour", "shop"]
TRAINED, GIVEN = 600, 400
SPEC = {
    "name": "lots",
    "source": {"file": "lots.csv"},
    "target": {"name": "price"},
    "features": {
        "size m": {"type": "float"},
        "colour": {"type": "category", "levels": ["red", "green", "blue"], "unseen": "other"},
        "age": {"type": "int"},
        "shop": {"type": "category", "levels": "many"},
        "load": {"type": "float", "derived": {"difference": ["age", "size m"]}},
    },
}


def table() -> pd.DataFrame:
    random = np.random.default_rng(3)
    rows = TRAINED + GIVEN
    colour, shop = random.choice(["red", "green", "blue"], rows), random.integers(0, 12, rows)
    size, age = random.uniform(1, 9, rows).round(2), random.integers(0, 40, rows)
    effect = pd.Series(colour).map({"red": 0.0, "green": 3.0, "blue": 8.0}).to_numpy()
    price = 1e5 * (3 * size + effect + shop + 0.1 * age + random.normal(0, 0.5, rows))
    return pd.DataFrame(
        {"size m": size, "colour": colour, "age": age, "shop": [f"shop {at}" for at in shop], "price": price}
    )


class World(msgspec.Struct):
    """A product, its settings, and the rows: `old` ones that models are trained on, and `new` ones."""

    settings: Settings
    product: Product
    folder: Path
    old: pd.DataFrame
    new: pd.DataFrame
    told: list[str] = []

    def register(self, model: Path | str, **options: object) -> str:
        options = {"rows": self.folder / "new.csv", "training_rows": self.folder / "old.csv"} | options
        result = register(self.settings, self.product, RegisterOptions(str(model), **options), self.told.append)
        return result.version


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, rows = tmp_path_factory.mktemp("lots"), table()
    (folder / "product.yaml").write_text(json.dumps(SPEC))
    old, new = rows[:TRAINED], rows[TRAINED:].reset_index(drop=True)
    old.to_csv(folder / "old.csv", index=False)
    new.to_csv(folder / "new.csv", index=False)
    (folder / "mlflow").mkdir()
    with mlflow_server(folder / "mlflow") as address:
        settings = Settings(home=folder / "home", product=folder / "product.yaml", mlflow_url=address)
        product = load_product(settings.product)
        yield World(settings, product, folder, old, new)


def pipeline(trees: int, depth: int) -> object:
    columns = ColumnTransformer(
        [("text", OneHotEncoder(handle_unknown="ignore"), TEXTS), ("numbers", StandardScaler(), NUMBERS)]
    )
    return make_pipeline(columns, RandomForestRegressor(trees, max_depth=depth, random_state=0))


def served(world: World, version: str, rows: pd.DataFrame) -> np.ndarray:
    """What inference answers: of the requests' own numbers and texts."""
    registry = Registry(world.settings.mlflow_address)
    pin = Pin("lots", version, registry.origin("lots", version).tags["sha256"])
    model = load_model(world.settings.models_dir, pin, world.product)
    features = world.product.features
    values = np.array(
        [[feature.to_number(row[feature.name]) for feature in features] for row in rows.to_dict("records")]
    )
    texts = {(at, 3): text for at, text in enumerate(rows["shop"])}
    texts |= {(at, 1): text for at, text in enumerate(rows["colour"]) if text == "violet"}
    return np.array(model.predict(model.fill(model.rows_of(world.product, values, texts))).values)


def test_a_pipeline_a_lightgbm_and_a_catboost_are_registered_and_answer_as_the_originals(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, folder = world.old, world.new, world.folder
    spread = float(old["price"].std())
    first = pipeline(20, 4).fit(old[NUMBERS + TEXTS], old["price"])
    joblib.dump(first, folder / "forest.pkl")

    with pytest.raises(ForeignModelError, match="--trust-pickle"):
        world.register(folder / "forest.pkl")
    assert world.register(folder / "forest.pkl", trust_pickle=True, note="from the notebook") == "1"
    assert read_release(world.settings.release_file).model.version == "1", "the first model serves at once"
    rows = new.head(50).copy()
    rows.loc[0, ["colour", "shop"]] = ["violet", "shop 99"]  # levels that nobody has seen
    np.testing.assert_allclose(served(world, "1", rows), first.predict(rows), rtol=0, atol=1e-4 * spread)

    coded = old.assign(**{name: old[name].astype("category") for name in TEXTS})[NUMBERS + TEXTS]
    second = lightgbm.LGBMRegressor(n_estimators=150, verbose=-1, n_jobs=1).fit(coded, old["price"])
    second.booster_.save_model(folder / "boosted.txt")
    arguments = [str(folder / "boosted.txt"), "--rows", str(folder / "new.csv"), "--note", "of the notebook"]
    monkeypatch.setattr("sys.argv", ["beacon register", *arguments, "--training-rows", str(folder / "old.csv")])
    assert command.main(world.settings) == 0
    # A package's rows are float32, as of every model: one on a threshold may take another branch than in double.
    rounded = new.astype(dict.fromkeys(NUMBERS, np.float32)).astype(dict.fromkeys(NUMBERS, float))
    as_trained = rounded.assign(**{name: pd.Categorical(new[name], coded[name].cat.categories) for name in TEXTS})
    answers = second.predict(as_trained[NUMBERS + TEXTS])
    np.testing.assert_allclose(served(world, "2", new), answers, rtol=0, atol=1e-4 * spread)
    verdict = newest(open_store(world.settings.database), "lots", "2", registered(world, "2").tags["sha256"])
    assert verdict is not None
    assert (verdict.outcome, verdict.method, verdict.rows) == ("pass", "given rows", GIVEN)
    assert verdict.champion is not None
    assert verdict.champion.version == "1"

    third = CatBoostRegressor(iterations=50, verbose=0, allow_writing_files=False, thread_count=1)
    third.fit(old[NUMBERS], old["price"]).save_model(str(folder / "model.cb"))
    (folder / "MLmodel").write_text("flavors: {catboost: {data: model.cb}}")
    uri = logged(world, folder / "MLmodel", folder / "model.cb")
    assert world.register(uri) == "3"
    np.testing.assert_allclose(served(world, "3", new), third.predict(rounded[NUMBERS]), rtol=0, atol=1e-4 * spread)
    # It does not know the text, so it is worse: the gate is no formality.
    assert registered(world, "3").tags["verdict"] == "fail"
    assert registered(world, "2").params["trained_by"] == "another program"
    card = (world.settings.models_dir / "lots" / "1" / "MODEL_CARD.md").read_text()
    assert "from the notebook" in card
    assert "colour as text; shop as text" in card

    # Rows that the champion was trained on prove nothing: version 1 still serves, as nobody promoted.
    assert world.register(folder / "boosted.txt", rows=folder / "old.csv", training_rows=None) == "4"
    again = newest(open_store(world.settings.database), "lots", "4", registered(world, "4").tags["sha256"])
    assert again is not None
    assert again.outcome != "pass"
    assert again.checks[0].name == "comparable"
    assert "was trained on all of the given rows: bring rows that are newer" in again.checks[0].title
    assert f"version 1 was trained on {TRAINED} of the given rows: they are not compared" in world.told


def registered(world: World, version: str) -> object:
    return Registry(world.settings.mlflow_address).origin("lots", version)


def logged(world: World, *files: Path) -> str:
    """Log a model's folder as a run of the team's, and return its URI."""
    client = mlflow.MlflowClient(world.settings.mlflow_address)
    run = client.create_run(client.create_experiment("notebooks")).info.run_id
    for file in files:
        client.log_artifact(run, str(file), "model")
    return f"runs:/{run}/model"


def test_rows_that_do_not_fit_are_refused_before_the_model_is_loaded(world: World) -> None:
    world.new.head(10).to_csv(world.folder / "few.csv", index=False)
    world.new.rename(columns={"price": "rent"}).to_csv(world.folder / "other.csv", index=False)
    world.new.assign(age="old").to_csv(world.folder / "broken.csv", index=False)
    file = world.folder / "never.txt"
    file.write_bytes(b"tree\nis never read")
    refused = {
        "few.csv": "few.csv: .*at least 24",
        "other.csv": r"other.csv: \(header\): price is missing",
        "broken.csv": "broken.csv: age: ",
    }
    for name, told in refused.items():
        with pytest.raises(DataError, match=told):
            world.register(file, rows=world.folder / name, training_rows=None)
    with pytest.raises(ForeignModelError, match=r"absent.csv: is no file"):
        world.register(file, rows=world.folder / "absent.csv")
