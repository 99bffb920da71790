"""Kaggle's own client, and what Beacon expects it to do with each form of credentials and each kind of zip."""

from pathlib import Path

import pytest
from support.kaggle import Answer, StandIn, zipped
from support.kaggle_homes import BAD, GOOD, SECRET, TOKEN, Form
from support.settings import Settings

from beacon_core.domain.product import Product
from beacon_core.platform.settings import SettingsError, clean_credentials
from beacon_core.sources.errors import FetchError, FetchRefusedError
from beacon_core.sources.table import read_stored, read_table
from beacon_retraining.data.fetch import _download, fetch
from beacon_retraining.data.kaggle_download import DownloadFailure


@pytest.fixture
def content(product: Product) -> bytes:
    return product.sample_path.read_bytes()


def tried(form: Form, product: Product, home: Path, content: bytes) -> tuple[DownloadFailure | None, StandIn]:
    """Beacon's process with the real client, past all checks of ours."""
    settings = Settings(home=home, kaggle_timeout_seconds=250)
    with StandIn() as kaggle:
        kaggle.answers, kaggle.tokens = [Answer(zipped(product.sources[0].file, content))], {TOKEN}
        environment = kaggle.environment(home, form.variables_at(home))
        clean_credentials(environment)
        (home / "out").mkdir()
        return _download(settings, product.sources[0], home / "out", environment), kaggle


@pytest.mark.parametrize("name", GOOD)
def test_the_client_gets_in_where_beacon_says_so(name: str, product: Product, tmp_path: Path, content: bytes) -> None:
    failure, kaggle = tried(GOOD[name], product, tmp_path, content)
    assert failure is None
    assert len(kaggle.asked) == 1
    assert kaggle.authorization is not None
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("name", BAD)
def test_the_client_gets_in_nowhere_else(name: str, product: Product, tmp_path: Path, content: bytes) -> None:
    failure, kaggle = tried(BAD[name], product, tmp_path, content)
    # One form makes it ask without a name, which any stranger may do with public data: that is no login.
    assert failure is not None or kaggle.authorization is None
    assert failure is None or SECRET not in failure.message
    assert failure is None or TOKEN not in failure.message


@pytest.mark.parametrize("place", ["KAGGLE_API_TOKEN", ".kaggle/access_token", ".kaggle/access_token.txt"])
def test_a_token_that_kaggle_does_not_know_stops(place: str, product: Product, tmp_path: Path) -> None:
    variables = {} if place.startswith(".") else {place: "KGAT_unknown"}
    if not variables:
        (tmp_path / ".kaggle").mkdir()
        (tmp_path / place).write_text("KGAT_unknown")
    with StandIn() as kaggle:
        with pytest.raises(FetchRefusedError, match=r"the client found no valid credentials, with .*") as refused:
            fetch(
                Settings(home=tmp_path, kaggle_timeout_seconds=250),
                product,
                tmp_path / "raw",
                lambda _: None,
                kaggle.environment(tmp_path, variables),
            )
        assert kaggle.introspected
    assert "KGAT_unknown" not in str(refused.value)
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_header_that_cannot_be_sent_is_not_quoted(product: Product, tmp_path: Path) -> None:
    """What Beacon refuses before it asks: the library's own words hold the whole token."""
    environment = {"KAGGLE_API_TOKEN": f"{TOKEN}\n{SECRET}"}
    with StandIn() as kaggle:
        given = kaggle.environment(tmp_path, environment)
        (tmp_path / "out").mkdir()
        failure = _download(
            Settings(home=tmp_path, kaggle_timeout_seconds=250), product.sources[0], tmp_path / "out", given
        )
        assert failure == DownloadFailure(-1, "ValueError in http.client")
        with pytest.raises(SettingsError, match=r"^KAGGLE_API_TOKEN: "):
            fetch(Settings(home=tmp_path), product, tmp_path / "raw", lambda _: None, given)


@pytest.mark.parametrize(
    ("name", "said"),
    [("deep/er/{}", None), ("{}.zip", "an archive in the archive"), ("../{}", "holds no ")],
    ids=["in a folder", "a zip in a zip", "a path out"],
)
def test_a_zip_that_comes_from_kaggle(
    name: str, said: str | None, product: Product, tmp_path: Path, content: bytes
) -> None:
    with StandIn() as kaggle:
        kaggle.answers = [Answer(zipped(name.format(product.sources[0].file), content))]
        given = kaggle.environment(tmp_path)
        settings = Settings(home=tmp_path, kaggle_timeout_seconds=250)
        if said is None:
            fetched = fetch(settings, product, tmp_path / "raw", lambda _: None, given)
            assert read_stored(fetched.file, product).equals(read_table(product))
            return
        with pytest.raises(FetchError, match=said):
            fetch(settings, product, tmp_path / "raw", lambda _: None, given)
    assert list((tmp_path / "raw").iterdir()) == []
