"""The page of a feature: training beside now, what is missing, drift over time; for every type and any name."""

import html
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from sqlalchemy import Engine, insert
from support.history import add_drift, month, prediction_row
from support.products import MIXED
from support.service import Service
from support.settings import Settings

from beacon_console.app import create
from beacon_core.data.tables import predictions
from beacon_core.domain.product import Product
from beacon_core.platform.product_file import load_product

ODD = "länge / breite (m)"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def odd_product(tmp_path: Path) -> Product:
    """One feature of text, whose name has blanks, a slash and letters beyond ASCII; no entity."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "rows.csv").write_text(f"{ODD},y\na,1\n", encoding="utf-8")
    file = folder / "product.yaml"
    file.write_text(
        "name: odd\nschema_version: 1\nsource: {file: rows.csv}\nentity: none\n"
        "target: {name: y}\nmin_features: 1\n"
        f'features:\n  "{ODD}": {{type: category, levels: many, unseen: other, example: a}}\n',
        encoding="utf-8",
    )
    return load_product(file)


def page(folder: Path, product: Product, path: str, status: int = 200) -> str:
    with Service(create(Settings(home=folder, product=product.file, mlflow_url="http://127.0.0.1:9"))) as console:
        answer = console.get(unquote(path))  # as a server hands it over
    assert answer.status == status, answer.body.decode()
    return answer.body.decode()


@pytest.mark.parametrize("name", ["area", "pieces", "insured", "grade", "colour", "supplier", "made_on"])
def test_every_type_has_a_page(tmp_path: Path, engine: Engine, name: str) -> None:
    mixed = load_product(MIXED)
    month(engine, mixed, 300)
    text = html.unescape(page(tmp_path, mixed, f"/features/{name}?window=30d"))
    feature = next(each for each in mixed.features if each.name == name)
    assert f"A feature of type {feature.type}" in text
    assert "In the newest 300 predictions" in text
    if feature.is_time:
        assert "Time always moves on" in text
    else:
        assert "training, 900 rows" in text
        assert "window, 4\N{NARROW NO-BREAK SPACE}000 rows" in text
        nulls = "".join(f'<td class="num">{share}\N{NARROW NO-BREAK SPACE}%</td>' for share in ("5.0", "1.0"))
        assert nulls in text, "now, and in training"
    if name == mixed.key_features[0]:
        assert "No prediction had a value of it yet" in text
        assert text.count("100.0\N{NARROW NO-BREAK SPACE}%") == 2, "all missing, all imputed"
    elif feature.is_category:
        shown = str(feature.example).lower() if feature.type == "bool" else str(feature.example)
        assert f'class="text">{shown}</th><td class="num">' in text
    else:
        assert "<dt>Half below</dt>" in text
    assert "over the runs" in text
    assert "MLflow at http://127.0.0.1:9 does not answer" in text


def test_a_name_with_blanks_slashes_and_other_letters_has_a_page(
    tmp_path: Path, engine: Engine, odd_product: Product
) -> None:
    """And a value that is HTML is text."""
    add_drift(engine, odd_product, 3, datetime.now(UTC))
    rows = [
        prediction_row(odd_product, n, datetime.now(UTC), "1") | {"features": {ODD: HOSTILE}, "entity": None}
        for n in range(9)
    ]
    with engine.begin() as connection:
        connection.execute(insert(predictions), rows)
    text = page(tmp_path, odd_product, f"/features/{quote(ODD, safe='')}")
    assert f"<h1>{ODD}" in text
    assert HOSTILE not in text
    assert html.escape(HOSTILE) in text
    assert f'href="/features/{quote(ODD, safe="")}"' in page(tmp_path, odd_product, "/")
    assert f'href="/features/{quote(ODD, safe="")}"' in page(tmp_path, odd_product, "/predictions/p00000001")


def test_an_empty_store_has_a_page_of_each_feature(tmp_path: Path, engine: Engine, odd_product: Product) -> None:
    text = page(tmp_path, odd_product, f"/features/{quote(ODD, safe='')}")
    for words in ("No drift run yet", "No prediction had a value of it yet", "No model has answered yet"):
        assert words in text


@pytest.mark.parametrize("path", ["/features/nothing", "/features/%00", "/features/" + "a" * 3000, "/features/a//b"])
def test_an_unknown_feature_is_not_found(tmp_path: Path, engine: Engine, odd_product: Product, path: str) -> None:
    assert "The product has no feature" in page(tmp_path, odd_product, path, 404)


def test_a_window_that_is_none_is_refused(tmp_path: Path, engine: Engine, odd_product: Product) -> None:
    assert "window must be" in page(tmp_path, odd_product, f"/features/{quote(ODD, safe='')}?window=%00", 422)


def test_two_hundred_features_have_their_pages(tmp_path: Path, engine: Engine) -> None:
    """And the form, the list and the files, each with all of them."""
    folder = tmp_path / "wide"
    folder.mkdir()
    names = [f"x {place}" for place in range(200)]
    (folder / "rows.csv").write_text(",".join([*names, "y"]) + "\n" + ",".join(["1"] * 201) + "\n", encoding="utf-8")
    lines = "".join(f"  {name}: {{type: float, example: {place}}}\n" for place, name in enumerate(names))
    (folder / "product.yaml").write_text(
        "name: wide\nschema_version: 1\nsource: {file: rows.csv}\nentity: none\ntarget: {name: y}\nfeatures:\n" + lines,
        encoding="utf-8",
    )
    wide = load_product(folder / "product.yaml")
    month(engine, wide, 60)
    assert "A feature of type float" in page(tmp_path, wide, "/features/x 199")
    shown = page(tmp_path, wide, "/predictions/p00000007")
    assert shown.count(" lies in ") == 2 * 199, "each but the one that is imputed, as a label and as a title"
    form = page(tmp_path, wide, "/what-if?from=p00000007")
    assert "180 more features" in form
    assert len(set(re.findall(r'name="(feature-\d+)"', form))) == 200
    assert "at most 4\N{NARROW NO-BREAK SPACE}694 rows" in page(tmp_path, wide, "/predictions")
    header = page(tmp_path, wide, "/predictions.csv").partition("\r\n")[0]
    assert header.count(",features.x ") == 200
