"""Whatever looks like Kaggle's credentials and does not work stops the fetch: the sample never takes the data's place.

Reported of its client: it passes over a file that it cannot read, knows five places, and asks without a name at last.
tests/system/retraining/test_kaggle_client.py holds every form here to what the real client does with it.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kaggle_homes import BAD, BOTH, GOOD, SECRET, TOKEN
from support.settings import Settings

from beacon_core.domain.exit_statuses import REFUSED
from beacon_core.domain.product import Product
from beacon_core.platform.settings import SettingsError, clean_credentials
from beacon_core.sources.errors import FetchRefusedError
from beacon_retraining.data.fetch import fetch
from beacon_retraining.data.kaggle_credentials import find_credentials


@pytest.mark.parametrize("name", GOOD)
def test_what_the_client_will_use_is_named(name: str, tmp_path: Path) -> None:
    given = {"HOME": str(tmp_path)} | GOOD[name].variables_at(tmp_path)
    clean_credentials(given)
    found = find_credentials(given)
    assert found is not None
    assert GOOD[name].said in found
    assert SECRET not in found
    assert TOKEN not in found


@pytest.mark.parametrize("name", BAD)
def test_what_will_not_do_stops_in_one_line_before_anything_is_fetched(
    name: str, product: Product, tmp_path: Path
) -> None:
    given = {"HOME": str(tmp_path)} | BAD[name].variables_at(tmp_path)
    folder = tmp_path / "state" / "raw"
    with pytest.raises(FetchRefusedError) as refused:
        fetch(Settings(home=tmp_path), product, folder, lambda _: None, given)
    said = str(refused.value)
    assert said.startswith("Kaggle's credentials cannot be used: ")
    assert BAD[name].said in said
    assert refused.value.exit_status == REFUSED
    assert len(said.splitlines()) == 1
    assert not [secret for secret in (SECRET, TOKEN, "KGAT_") if secret in said]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("variable", ["KAGGLE_API_TOKEN", "KAGGLE_KEY", "KAGGLE_USERNAME"])
def test_a_line_break_within_one_is_refused_by_its_name(variable: str, product: Product, tmp_path: Path) -> None:
    given = {"HOME": str(tmp_path), "KAGGLE_USERNAME": "me", "KAGGLE_KEY": "k", variable: f"{SECRET}\n{SECRET}"}
    with pytest.raises(SettingsError, match=f"^{variable}: must be one line without control characters$"):
        fetch(Settings(home=tmp_path), product, tmp_path / "raw", lambda _: None, given)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read every file."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


@pytest.mark.parametrize("name", ["access_token", "access_token.txt", "kaggle.json", "credentials.json", ""])
def test_what_may_not_be_read_stops(name: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, ".kaggle")
        folder.mkdir()
        (folder / (name or "kaggle.json")).write_text(BOTH)
        (folder / name).chmod(0)
        Path(home).chmod(0o755)
        with as_nobody(), pytest.raises(FetchRefusedError, match="cannot be read: Permission denied"):
            find_credentials({"HOME": home})
        (folder / name).chmod(0o700)


@pytest.mark.parametrize(
    "variables", [{}, {"KAGGLE_USERNAME": "", "KAGGLE_KEY": ""}, {"KAGGLE_PROXY": "http://127.0.0.1:1"}], ids=str
)
def test_without_any_the_sample_is_used_and_says_so(
    variables: dict[str, str], product: Product, tmp_path: Path
) -> None:
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "logs.txt").touch()
    done = fetch(
        Settings(home=tmp_path), product, tmp_path / "raw", lambda _: None, {"HOME": str(tmp_path)} | variables
    )
    assert done.source == "sample"
    assert "no Kaggle credentials" in done.why
