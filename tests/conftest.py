"""What every test shares: no network, the product, a home with a model released in it, settings, inference itself."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket
from support import fuzzing
from support.packages import release_package, row_of
from support.products import SPEC
from support.service import METRICS_PORT, PORT, Service
from support.settings import Settings
from support.templates import share_compiled_templates

import beacon_core.feature_store  # noqa: F401 - before any test imports Feast itself
from beacon_core.domain.product import Product
from beacon_core.platform import clock
from beacon_core.platform.product_file import load_product

TESTS = Path(__file__).parent
ON_CLUSTER = (
    "e2e",
    "e2e_promotion",
    "e2e_umbrella",
    "e2e_restore",
    "e2e_files",
    "e2e_upgrade",
    "e2e_two_products",
    "chaos",
    "paging",
)
LOOPBACK = ["127.0.0.1", "localhost", "::1"]
# What a test starts runs on the tests' product, too, whatever lies in feature_repo.
os.environ["BEACON_PRODUCT"] = str(SPEC)
fuzzing.load_profile()
share_compiled_templates()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep on one worker the tests that share what their module makes: two workers would make it twice.

    A mark of their own, by which several modules share, is left as it is.
    """
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("xdist_group") is None and _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _shares(item: pytest.Function) -> bool:
    """Whether a test takes what its own module makes once for all of its tests."""
    made = [definitions[-1] for definitions in item._fixtureinfo.name2fixturedefs.values()]
    return any(each.scope == "module" and each.func.__module__ == item.module.__name__ for each in made)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol() -> None:
    """Undo what importing Feast does to the whole process: it switches prometheus_client to multiprocess mode."""
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
        os.environ.pop(name, None)


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Unit tests have no network at all (event loops need a Unix socket pair); all else has loopback, and a cluster."""
    if item.path.is_relative_to(TESTS / "unit"):
        pytest_socket.disable_socket(allow_unix_socket=True)
    elif not any(item.path.is_relative_to(TESTS / "system" / name) for name in ON_CLUSTER):
        pytest_socket.socket_allow_hosts(LOOPBACK, allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("BEACON_", "OTEL_")) and name != "BEACON_PRODUCT"]:
        monkeypatch.delenv(name)
    # A demo may have shifted the clock of the checkout's own state.
    unshifted = clock._Shift()
    unshifted._looked = math.inf
    monkeypatch.setattr(clock, "_shift", unshifted)


@pytest.fixture(scope="session")
def product() -> Product:
    """The product spec of the tests."""
    return load_product(SPEC)


@pytest.fixture
def home(tmp_path: Path, product: Product) -> Path:
    """A BEACON_HOME in which version 1 of a tiny model is released."""
    release_package(tmp_path / "home", product)
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path) -> Settings:
    """Settings of a service at `home`."""
    return Settings(home=home, inference_port=PORT, inference_metrics_port=METRICS_PORT)


@pytest.fixture(scope="session")
def row(product: Product) -> dict[str, float]:
    """Every feature, each in the middle of what training saw."""
    return dict(zip(product.feature_names, row_of(product), strict=True))


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """Inference, running in process."""
    from support.logged_inference import create

    with Service(create(settings)) as running:
        yield running


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[Service]:
    """Inference, running in process for a whole module: for tests that leave nothing behind but records."""
    from support.logged_inference import create

    home = tmp_path_factory.mktemp("shared")
    release_package(home, product)
    with Service(create(Settings(home=home))) as running:
        yield running
