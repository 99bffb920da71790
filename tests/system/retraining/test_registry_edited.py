"""What people do in MLflow by hand stops no registration: versions, runs, files, models, experiments deleted or added.

Reported of every registry that counts versions: the number of a deleted version is never given again, so whoever takes
the highest one that is shown, plus one, is out of step for good. A real MLflow server answers here.
"""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import insert
from support.mlflow import mlflow_server
from support.packages import build_package
from support.settings import Settings

from beacon_console.models.registry import Registry as ConsoleRegistry
from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import verdicts
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.pins import Pin
from beacon_core.domain.product import Product
from beacon_core.model_package.download import CHALLENGER, CHAMPION, download_package
from beacon_core.model_package.manifest import PackageError, read_package
from beacon_core.model_package.release import package_folder
from beacon_core.model_package.signature import DIGEST_ALONE, SignatureError, Trust, sign, trust_of
from beacon_core.platform import clock
from beacon_core.platform.mlflow import Mlflow
from beacon_core.platform.signing_keys import new_private_key, public_of, write_key_pair
from beacon_promotion.controller import aliases
from beacon_retraining.commands.sign import main as sign_command
from beacon_retraining.registry.register import HIGHEST_TAG, Registry, RegistryEntry, VersionTakenError

pytestmark = pytest.mark.xdist_group("edited")
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    home = tmp_path_factory.mktemp("mlflow-edited")
    with mlflow_server(home) as url:
        yield url, home


class Shop:
    """A product of its own in the registry, and how retraining registers a version of it."""

    def __init__(self, server: tuple[str, Path], product: Product, models: Path) -> None:
        self.address, self.home = server
        self.product = msgspec.structs.replace(product, name=f"edited-{next(NUMBERS)}")
        self.name, self.models = self.product.name, models
        self.registry = Registry(self.address)
        self.client: MlflowClient = self.registry.client

    def register(self, run_key: str = "key", above: int = 0) -> Pin:
        """Package under the next number, and register; again where the registry asks for it, as the pipeline does."""
        for attempt in (1, 2):
            number = self.registry.next_version(self.name, above)
            shutil.rmtree(self.models / self.name / number, ignore_errors=True)
            pin = build_package(self.models, self.product, number)
            package = read_package(package_folder(self.models, pin), pin.sha256)
            try:
                self.registry.register(
                    self.product, package, RegistryEntry(run_key, {"a": "1"}, {"m": 1.0}), CHALLENGER
                )
                break
            except VersionTakenError:
                assert attempt == 1
        assert download_package(self.address, pin, self.models / "brought", DIGEST_ALONE).sha256 == pin.sha256
        assert Mlflow(self.address).aliases(self.name)[CHALLENGER] == pin.version
        return pin

    def run_of(self, pin: Pin) -> str:
        return str(self.client.get_model_version(pin.name, pin.version).run_id)

    def files_of(self, pin: Pin) -> Path:
        """Where the server keeps the package's files."""
        (folder,) = self.home.glob(f"mlartifacts/*/{self.run_of(pin)}/artifacts/package")
        return folder

    def versions(self) -> list[int]:
        return sorted(int(item.version) for item in self.client.search_model_versions(f"name = '{self.name}'"))

    def of_a_person(self) -> str:
        """A version that somebody registers by hand, of a run of their own."""
        run = self.client.create_run(self.client.create_experiment(f"{self.name}-theirs-{next(NUMBERS)}"))
        created = self.client.create_model_version(self.name, f"{run.info.artifact_uri}/model", run.info.run_id)
        return str(created.version)


@pytest.fixture
def shop(server: tuple[str, Path], product: Product, tmp_path: Path) -> Shop:
    made = Shop(server, product, tmp_path)
    made.register("first")
    made.register("second")
    return made


def delete_newest(shop: Shop) -> None:
    shop.client.delete_model_version(shop.name, "2")


def delete_all(shop: Shop) -> None:
    for number in shop.versions():
        shop.client.delete_model_version(shop.name, str(number))


def delete_newest_of_an_older_release(shop: Shop) -> None:
    shop.client.delete_model_version(shop.name, "2")
    shop.client.delete_registered_model_tag(shop.name, HIGHEST_TAG)


def add_and_delete(shop: Shop) -> None:
    shop.client.delete_model_version(shop.name, shop.of_a_person())


def add(shop: Shop) -> None:
    shop.of_a_person()


def add_two_and_delete_both(shop: Shop) -> None:
    for number in (shop.of_a_person(), shop.of_a_person()):
        shop.client.delete_model_version(shop.name, number)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # stages are deprecated, and people use them
def archive(shop: Shop) -> None:
    shop.client.transition_model_version_stage(shop.name, "2", "Archived")


def to_production(shop: Shop) -> None:
    shop.client.transition_model_version_stage(shop.name, "2", "Production", archive_existing_versions=True)


def delete_run(shop: Shop) -> None:
    shop.client.delete_run(shop.run_of(Pin(shop.name, "2", "")))


def delete_experiment(shop: Shop) -> None:
    experiment = shop.client.get_experiment_by_name(shop.name)
    assert experiment is not None
    shop.client.delete_experiment(experiment.experiment_id)


def rename_experiment(shop: Shop) -> None:
    experiment = shop.client.get_experiment_by_name(shop.name)
    assert experiment is not None
    shop.client.rename_experiment(experiment.experiment_id, f"{shop.name}-old")


def move_aliases(shop: Shop) -> None:
    shop.client.delete_registered_model_alias(shop.name, CHALLENGER)
    shop.client.set_registered_model_alias(shop.name, CHAMPION, shop.of_a_person())


def spoil_the_memory(shop: Shop) -> None:
    shop.client.delete_model_version(shop.name, "2")
    shop.client.set_registered_model_tag(shop.name, HIGHEST_TAG, "many")


EDITS = {
    edit.__name__.replace("_", " "): edit
    for edit in (
        delete_newest,
        delete_all,
        delete_newest_of_an_older_release,
        add,
        add_and_delete,
        add_two_and_delete_both,
        archive,
        to_production,
        delete_run,
        delete_experiment,
        rename_experiment,
        move_aliases,
        spoil_the_memory,
    )
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", EDITS)
def test_the_next_version_is_registered_whatever_was_edited(name: str, shop: Shop) -> None:
    EDITS[name](shop)
    before = shop.versions()
    third = shop.register("third")
    assert int(third.version) > 2
    assert shop.versions() == sorted([*before, int(third.version)])
    assert shop.client.get_run(shop.run_of(third)).info.status == "FINISHED"
    assert shop.register("fourth").version == str(int(third.version) + 1), "and so is the one after it, at once"


@pytest.mark.parametrize("edit", ["deleted", "renamed"])
def test_a_registered_model_that_is_gone_gives_no_number_to_two_packages(edit: str, shop: Shop) -> None:
    """MLflow begins at 1 again, and the log has answers of version 1."""
    if edit == "deleted":
        shop.client.delete_registered_model(shop.name)
    else:
        shop.client.rename_registered_model(shop.name, f"{shop.name}-old")
    assert shop.register("third", above=2).version == "3"
    assert shop.versions() == [3]
    assert shop.register("fourth", above=3).version == "4"


def test_equal_inputs_are_one_version_only_where_it_is_whole(shop: Shop) -> None:
    known = [shop.register("same"), shop.register("same"), shop.register("same")]
    assert shop.registry.versions_of(shop.name, "same") == known[::-1]
    shop.client.delete_run(shop.run_of(known[2]))
    shop.client.delete_model_version(shop.name, known[1].version)
    assert shop.registry.versions_of(shop.name, "same") == known[:1]
    for file in shop.files_of(known[0]).iterdir():
        file.unlink()
    with pytest.raises(PackageError, match=r" has no package/manifest\.json of run "):
        download_package(shop.address, known[0], shop.models / "again", DIGEST_ALONE)


def test_files_that_somebody_removed_are_put_back_by_the_next_registration_of_the_package(shop: Shop) -> None:
    pin = shop.register("third")
    shutil.rmtree(shop.files_of(pin))
    package = read_package(package_folder(shop.models, pin), pin.sha256)
    shop.registry.register(shop.product, package, RegistryEntry("third", {}, {}), CHALLENGER)
    assert download_package(shop.address, pin, shop.models / "again", DIGEST_ALONE).sha256 == pin.sha256
    assert shop.versions() == [1, 2, 3]


def test_a_version_comes_with_its_signature_and_gets_another_one_by_the_command(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signed at registration, then by a new key; what is signed is what the verdict pins, whatever a tag says."""
    old, new = new_private_key(), tmp_path / "home" / "keys" / "model-signing.pem"
    made = build_package(shop.models, shop.product, shop.registry.next_version(shop.name))
    package = read_package(package_folder(shop.models, made), made.sha256)
    shop.registry.register(shop.product, package, RegistryEntry("k", {}, {}), CHALLENGER, sign(old, made.sha256))
    unsigned = shop.register("unsigned")
    trust = Trust({old.id: public_of(old.seed)}, required=True)
    assert download_package(shop.address, made, shop.models / "signed", trust).sha256 == made.sha256
    with pytest.raises(SignatureError, match="is not signed"):
        download_package(shop.address, unsigned, shop.models / "unsigned", trust)

    spec = tmp_path / "product" / "product.yaml"
    shutil.copytree(shop.product.file.parent, spec.parent)
    spec.write_text(spec.read_text().replace("name: boston-housing", f"name: {shop.name}", 1))
    settings = Settings(home=tmp_path / "home", product=spec, mlflow_url=shop.address)
    key = write_key_pair(new, settings.trusted_keys_file)
    engine = open_store(settings.database)
    migrate(engine)
    for pin in (made, unsigned, Pin(shop.name, "77", "7" * 64)):
        row = {"moment": clock.now(), "product": shop.name, "version": pin.version, "sha256": pin.sha256}
        with engine.begin() as connection:
            connection.execute(
                insert(verdicts).values(row | {"outcome": "pass", "data_fingerprint": "", "verdict": {}})
            )
    engine.dispose()
    shop.client.set_model_version_tag(shop.name, made.version, "sha256", "0" * 64)
    monkeypatch.setattr("sys.argv", ["beacon sign"])
    assert sign_command(settings) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [f"version {pin.version}: signed by key {key.id}" for pin in (made, unsigned)]
    assert told[2].startswith("version 77: not in MLflow: ")
    for pin in (made, unsigned):
        assert download_package(shop.address, pin, shop.models / "again", trust_of(settings)).sha256 == pin.sha256
    with pytest.raises(SignatureError, match=f"is signed by key '{key.id}'"):
        download_package(shop.address, made, shop.models / "old", trust)
    monkeypatch.setattr("sys.argv", ["beacon sign", "9"])
    with pytest.raises(ConfigurationError, match="version 9 has no verdict here"):
        sign_command(settings)


def test_what_a_kill_between_create_and_delete_left_is_not_taken_for_the_version(shop: Shop) -> None:
    """It has the package's tags and another number than the package."""
    pin = shop.register("third")
    run = shop.run_of(pin)
    source = shop.client.get_model_version(shop.name, "3").source
    tags = {"sha256": pin.sha256, "run_key": "third"}
    assert shop.client.create_model_version(shop.name, source, run, tags=tags).version in {4, "4"}
    package = read_package(package_folder(shop.models, pin), pin.sha256)
    assert shop.registry.register(shop.product, package, RegistryEntry("third", {}, {}), CHALLENGER) == run
    assert Mlflow(shop.address).aliases(shop.name)[CHALLENGER] == "3"
    assert shop.register("fourth").version == "5"


def test_the_console_tells_what_is_wrong_with_each(shop: Shop) -> None:
    console = ConsoleRegistry(shop.address)
    whole = console.find(shop.name, "2")
    assert whole is not None
    assert whole.manifest is not None
    assert whole.aliases == (CHALLENGER,)
    theirs = console.find(shop.name, shop.of_a_person())
    assert theirs is not None
    assert theirs.damage == "It was not registered by Beacon: it has no tag sha256"
    shutil.rmtree(shop.files_of(Pin(shop.name, "2", "")))
    emptied = console.find(shop.name, "2")
    assert emptied is not None
    assert emptied.damage == "manifest.json is not among its files"
    shop.client.set_model_version_tag(shop.name, "1", "sha256", "0" * 64)
    retagged = console.find(shop.name, "1")
    assert retagged is not None
    assert retagged.damage == "manifest.json is not the one that was registered: its digest differs"
    shop.client.delete_model_version(shop.name, "2")
    assert console.find(shop.name, "2") is None
    assert console.find("no-such-model", "1") is None


class Notes:
    """What a target remembers, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def write(self, name: str, content: bytes | None) -> None:
        self.kept.pop(name, None)
        if content is not None:
            self.kept[name] = content


def test_aliases_that_are_owed_are_settled_though_versions_are_gone(shop: Shop) -> None:
    notes = Notes()
    shop.client.delete_model_version(shop.name, "1")
    aliases.enqueue(notes, aliases.Aliases(shop.name, "2", "1"))
    assert aliases.reconcile(notes, shop.address) is not None
    assert Mlflow(shop.address).aliases(shop.name) == {CHAMPION: "2"}
    shop.client.delete_registered_model(shop.name)
    aliases.enqueue(notes, aliases.Aliases(shop.name, "2", None))
    assert aliases.reconcile(notes, shop.address) is not None
    assert aliases.reconcile(notes, shop.address) is None
