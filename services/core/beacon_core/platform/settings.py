"""Settings: every BEACON_ environment variable, read once, typed, and refused when misspelt."""

import os
import tempfile
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Literal

import msgspec

from beacon_core.domain import addresses, api_keys, engines, kafka, token_clients
from beacon_core.domain.errors import ConfigurationError
from beacon_core.domain.log_stores import ReadStore, StoreName, read_stores, store_that_is_read
from beacon_core.domain.masking import MASK, mask
from beacon_core.domain.quotas import UNLIMITED, Quota
from beacon_core.platform import http_settings, locations
from beacon_core.platform.file_urls import sqlite_url
from beacon_core.platform.log_settings import check_log

ROOT = Path(__file__).resolve().parents[4]
MAX_BODY_BYTES = 2_000_000
PREFIX = "BEACON_"
SECRETS = frozenset(
    {"api_key", "feature_token", "features_key", "console_token", "console_session_key", "oidc_client_secret"}
    | {"database_url", "lake_catalog_url"}
)
ADDRESSES = frozenset({"features_url", "mlflow_url", "inference_url", "inference_metrics_url", "dvc_remote"})
LIBRARY_PREFIXES = ("KAGGLE_", "AWS_", "MLFLOW_TRACKING_", "OTEL_EXPORTER_", "REDIS", "PG")
"""Prefixes of the variables of libraries whose values are sent in a header or an address."""


class SettingsError(ConfigurationError):
    """An environment variable is unknown or has a value of the wrong type; the message names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Beacon's settings. The field `home` is read from BEACON_HOME, and so on. Empty means: not set."""

    home: Path = ROOT / ".beacon"
    """Folder of all state on a laptop."""
    product: Path = ROOT / "feature_repo" / "product.yaml"
    """The product spec; policy.yaml lies beside it."""
    feature_repo: Path = ROOT / "feature_repo"
    """Folder of feature_store.yaml and the Feast definitions."""
    database_url: str = ""
    """SQLAlchemy URL of the store; empty means SQLite in `home`."""
    lake: str = ""
    """Folder, or s3://BUCKET/FOLDER, of the prediction log's lake; empty: there is none (docs/how-to/lake.md)."""
    lake_catalog_url: str = ""
    """SQLAlchemy URL of the database with the lake's catalog; empty means that of `database_url`."""
    log_stores: tuple[StoreName, ...] = ("sql",)
    """Stores of the prediction log: sql, lake, kafka or some of them (sql,lake); each gets every row."""
    log_read: ReadStore | None = None
    """Store that is read: sql or lake; empty means the first of `log_stores`, which must not be kafka then."""
    kafka_brokers: tuple[str, ...] = ()
    """Some brokers of Kafka, HOST:PORT,HOST:PORT (docs/how-to/kafka.md)."""
    kafka_topic: str = ""
    """Topic of the prediction log; it must be there, and be this product's own."""
    kafka_file: Path | None = None
    """File with settings of the Kafka client, NAME=VALUE a line in its own names, such as those of TLS and SASL."""
    engine: engines.EngineName = "local"
    """What runs the jobs that read the log: this machine's processes, or Apache Spark (docs/how-to/spark.md)."""
    spark_master: str = "local[2]"
    """Spark's master: local[CORES], spark://HOST:PORT, k8s://https://HOST:PORT or yarn."""
    spark_conf: Path | None = None
    """File of Spark's own options, as spark-defaults.conf has them; empty: none."""
    spark_jars: Path = ROOT / ".tools" / "spark-jars"
    """Folder of the jars that `make spark-jars` fetches."""
    java_home: Path | None = None
    """Folder of the Java that Spark runs on (17 or 21); empty means JAVA_HOME, else `java` on PATH."""
    files: str = ""
    """Folder, or s3://BUCKET/FOLDER, of files that services share (docs/how-to/shared-files.md); empty means `home`."""
    release: Path | None = None
    """File that names the model version to serve; empty means `home`/release.json."""
    spool: Path | None = None
    """Folder of the prediction log's spool, which inference and the log's process share; empty means `home`/spool."""
    shared_spools: Path | None = None
    """Folder of the spools of all pods, on a volume that they share: those of pods that are gone are shipped."""
    spool_max_bytes: int = 256 << 20
    """Above this, records are dropped and counted, and predictions go on."""
    spool_fsync: Literal["never", "group"] = "never"
    """Whether an answer waits until its record is on the disk: group has one fsync for all that wait meanwhile."""

    host: str = "127.0.0.1"
    """Address that servers listen on."""
    inference_port: int = 8080
    """Port of inference."""
    inference_metrics_port: int = 9090
    """Port of inference's metrics."""
    features_port: int = 6566
    """Port of feature serving."""
    features_metrics_port: int = 9091
    """Port of feature serving's metrics."""
    mlflow_port: int = 5000
    """Port of MLflow."""
    console_port: int = 8090
    """Port of the console."""
    console_metrics_port: int = 9092
    """Port of the console's metrics."""
    prediction_log_metrics_port: int = 9094
    """Port of the prediction log's metrics."""
    kafka_to_lake_metrics_port: int = 9095
    """Port of the metrics of `make kafka-to-lake`, while it runs on."""

    features_url: str = ""
    """Feature serving, as inference sees it; empty means `host`:`features_port`."""
    features_timeout_seconds: float = 0.15
    """How long a prediction waits for its features; `make run` gives it more."""
    online_store_timeout_seconds: float = 0.18
    """How long feature serving waits for the online store; `make run` gives it more."""
    mlflow_url: str = ""
    """MLflow, as retraining and the console see it; empty means `host`:`mlflow_port`."""
    inference_url: str = ""
    """Inference's API, as the console sees it; empty means `host`:`inference_port`."""
    inference_metrics_url: str = ""
    """Inference's metrics, as the console sees them (http://HOST:PORT); empty: errors are not shown."""
    inference_metrics_timeout_seconds: float = 0.1
    """How long the console's front page, which may take 200 ms, waits for them; `make run` gives it more."""
    dvc_remote: str = ""
    """Folder or URL (s3://) that retraining pushes its data to; empty means dvc-remote below `files`."""
    kaggle_timeout_seconds: float = 120.0
    """How long one download from Kaggle may take."""
    drift_every_seconds: float = 3600.0
    """How often a laptop runs its jobs: drift, then a retraining that was asked for, then the promotion."""
    promote_every_seconds: float = 10.0
    """How often a laptop's promoter looks for a verdict, an approval and a breach of the watch."""

    installation: str = "beacon"
    """Name of the installation, with which the names of its objects on a cluster and Feast's project begin."""
    promotion_target: Literal["helm", "deployment"] = "helm"
    """What promotion changes on a cluster: inference's Helm release, or its Deployment alone."""

    api_key: str = ""
    """Key of inference with all scopes, beside those of `api_keys_file`; its own clients in Beacon send it."""
    api_keys_file: Path | None = None
    """File of named API keys (docs/how-to/api-keys.md), read again when it changes; empty: `api_key` alone."""
    closed_scopes: tuple[api_keys.Scope, ...] = ()
    """Scopes that are open by default and need a key here: predict, explain, features; empty: none of them."""
    jwt_issuer: str = ""
    """Issuer of JWTs that count beside API keys (their `iss`); empty: none do (docs/how-to/api-keys.md)."""
    jwt_audience: str = ""
    """What their `aud` has to name."""
    jwt_jwks_url: str = ""
    """Where the issuer's public keys are (JWKS)."""
    jwt_scopes: token_clients.TheirScopes = ()
    """Scopes of the issuer and ours, such as beacon.read=read_log,... ; empty: those with our names."""
    jwt_quota: Quota = UNLIMITED
    """Quota of each client with a JWT, such as requests_per_second=20,rows_per_day=1000000; empty: none."""
    jwt_leeway_seconds: float = 30.0
    """How far the issuer's clock may be from this one's."""
    feature_token: str = ""
    """Key of feature serving with all its scopes; without it and `api_keys_file`, the write routes are off."""
    features_key: str = ""
    """Key that inference sends to feature serving, where that asks for one."""
    console_token: str = ""
    """Token asked of people who approve or reject in a console without a login; empty switches the buttons off."""
    console_login: Literal["off", "oidc", "proxy"] = "off"
    """How people log in to the console: at an OpenID provider, or at a proxy before it (docs/how-to/logins.md)."""
    console_session_key: str = ""
    """Key that signs sessions: 32 random characters or more, the same for all pods."""
    console_session_hours: float = 8.0
    """How long a login lasts."""
    console_viewers: tuple[str, ...] = ()
    """Groups whose members may see the console; * for whoever can log in."""
    console_approvers: tuple[str, ...] = ()
    """Groups whose members may approve and reject models, too."""
    console_operators: tuple[str, ...] = ()
    """Groups whose members may request a retraining, too."""
    oidc_issuer: str = ""
    """The OpenID provider."""
    oidc_client_id: str = ""
    """The console's name at it."""
    oidc_client_secret: str = ""
    """The console's secret at it."""
    oidc_redirect_url: str = ""
    """The console's own address, ending in /login/callback, as it is known to the provider."""
    oidc_scopes: str = "openid profile email"
    """What the console asks of it."""
    oidc_person_claim: str = "email"
    """Claim of the ID token that names a person in approvals; one that people cannot change themselves."""
    oidc_groups_claim: str = "groups"
    """Claim of the ID token with the person's groups."""
    proxy_networks: tuple[str, ...] = ()
    """Networks of the proxies before the console, such as 10.0.0.0/8; what others say in headers counts for nothing."""
    proxy_user_header: str = "X-Forwarded-User"
    """Header in which the proxy names who logged in."""
    proxy_groups_header: str = "X-Forwarded-Groups"
    """Header with their groups, separated by commas."""

    model_keys_file: Path | None = None
    """Public keys (PEM) whose signatures of model packages are trusted; empty means `home`/keys/model-keys.pem."""
    model_signing_key_file: Path | None = None
    """Private key that signs packages, where they are made; empty means `home`/keys/model-signing.pem."""
    model_signatures: Literal["required", "allowed"] | None = None
    """Whether a package must be signed by a trusted key; empty means required where there is a file of keys."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may ask inference from a browser (https://app.example.com,...), or *; empty: none."""
    path_prefix: str = ""
    """Path below which a proxy serves inference and the console, such as /beacon; the proxy may strip it or not."""

    max_body_bytes: int = MAX_BODY_BYTES
    """Largest request body taken; inference's default is more where the largest batch of a wide product needs it."""
    body_timeout_seconds: float = 10.0
    """How long a client may take to send its body, once it has begun; one that sends nothing of it has 30 seconds."""
    head_timeout_seconds: float = 30.0
    """How long a client may take to send the head of a request, from the connection or its first byte on."""
    idle_timeout_seconds: float = 620.0
    """How long a connection may rest before its next request, or more of an answer: longer than proxies let it."""
    overload_seconds: float = 0.25
    """How long waiting requests may take before the rest are shed (503 with Retry-After); `make run` gives it more."""
    max_batch_rows: int = 1000
    """Most rows in one batch."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Least severe level that is logged."""
    log_format: Literal["auto", "json", "plain"] = "auto"
    """How jobs log: auto is plain lines for a person at a terminal, else JSON. Servers log JSON."""
    progress: bool = False
    """Jobs log the progress of what takes long (`beacon.progress`), for a program that draws it."""
    access_log: bool = True
    """One log line per request."""
    build_version: str = "0.1.0"
    """Version of this build, as shown in beacon_build_info."""
    build_revision: str = "unknown"
    """Code revision of this build."""

    @property
    def database(self) -> str:
        """The store's URL in force."""
        return self.database_url or sqlite_url(self.home / "beacon.db")

    @property
    def files_place(self) -> str:
        """The folder or the address of shared files in force, without a slash at its end."""
        return self.files or str(self.home)

    @property
    def keeps_files(self) -> bool:
        """Whether shared files lie in a folder, which other state may lie beside."""
        return "://" not in self.files

    @property
    def lake_catalog(self) -> str:
        """The URL of the lake's catalog in force."""
        return self.lake_catalog_url or self.database

    @property
    def reads_lake(self) -> bool:
        """Whether questions about logged predictions go to the lake."""
        return self.read_store == "lake"

    @property
    def read_store(self) -> ReadStore:
        """The store that questions about logged predictions go to."""
        return store_that_is_read(self.log_stores, self.log_read)

    @property
    def release_file(self) -> Path:
        """The release file in force."""
        return self.release or self.home / "release.json"

    @property
    def spool_dir(self) -> Path:
        """The spool folder in force."""
        return self.spool or self.home / "spool"

    @property
    def spools_dir(self) -> Path:
        """The folder of the spools that others than inference write, such as batch scoring."""
        return self.shared_spools or self.home / "spools"

    @property
    def models_dir(self) -> Path:
        """Folder of model packages: models/NAME/VERSION."""
        return self.home / "models"

    @property
    def trusted_keys_file(self) -> Path:
        """The file of trusted public keys in force."""
        return self.model_keys_file or self.home / "keys" / "model-keys.pem"

    @property
    def signing_key_file(self) -> Path:
        """The file of the private key in force."""
        return self.model_signing_key_file or self.home / "keys" / "model-signing.pem"

    @property
    def features_address(self) -> str:
        """Feature serving's URL in force."""
        return self.features_url or f"http://{addresses.in_url(self.host)}:{self.features_port}"

    @property
    def inference_address(self) -> str:
        """Inference's URL in force."""
        return self.inference_url or f"http://{addresses.in_url(self.host)}:{self.inference_port}"

    @property
    def mlflow_address(self) -> str:
        """MLflow's URL in force."""
        return self.mlflow_url or f"http://{addresses.in_url(self.host)}:{self.mlflow_port}"

    @property
    def dvc_address(self) -> str:
        """DVC's remote in force."""
        return self.dvc_remote or f"{self.files_place}/dvc-remote"

    def environment(self) -> dict[str, str]:
        """The variables of all given locations, as absolute paths, for a process that starts in another folder."""
        fields = {field.name: field.default for field in msgspec.structs.fields(Settings)}
        given = {name: getattr(self, name) for name in LOCATIONS if getattr(self, name) != fields[name]}
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in {**given, "home": self.home}.items()}

    def shown(self) -> dict[str, str]:
        """The settings as text for a log line, secrets hidden."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: MASK if name in SECRETS and value else mask(str(value)) for name, value in values.items()}


LOCATIONS: dict[str, Callable[[str], object]] = {
    "home": locations.folder,
    "product": locations.file,
    "feature_repo": locations.folder,
    "release": locations.file,
    "spool": locations.folder,
    "shared_spools": locations.folder,
    "api_keys_file": locations.file,
    "model_keys_file": locations.file,
    "model_signing_key_file": locations.file,
    "kafka_file": locations.file,
    "database_url": locations.database,
    "files": locations.shared_files,
    "lake": locations.folder_or_s3,
    "lake_catalog_url": locations.database,
    "spark_conf": locations.file,
    "spark_jars": locations.folder,
    "java_home": locations.folder,
    "dvc_remote": locations.remote,
    "host": addresses.host,
    "features_url": addresses.http_address,
    "mlflow_url": addresses.http_address,
    "inference_url": addresses.http_address,
    "inference_metrics_url": addresses.http_address,
}
"""The check of each setting that names a location."""
READERS = LOCATIONS | {
    "spark_master": addresses.spark_master,
    "log_stores": read_stores,
    "kafka_brokers": kafka.read_brokers,
    "kafka_topic": kafka.read_topic,
    "cors_origins": http_settings.origins,
    "path_prefix": http_settings.path_prefix,
    "closed_scopes": api_keys.read_optional_scopes,
    "jwt_jwks_url": addresses.http_url,
    "oidc_issuer": addresses.http_address,
    "oidc_redirect_url": addresses.http_address,
    "console_viewers": http_settings.names,
    "console_approvers": http_settings.names,
    "console_operators": http_settings.names,
    "console_session_hours": http_settings.session_hours,
    "proxy_networks": http_settings.networks,
    "proxy_user_header": http_settings.header_name,
    "proxy_groups_header": http_settings.header_name,
    "jwt_scopes": token_clients.read_scope_map,
    "jwt_quota": token_clients.read_quota,
    "jwt_leeway_seconds": token_clients.read_leeway,
}


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Build the settings from the environment; raises `SettingsError` for an unknown name or a wrong value."""
    given = {name[len(PREFIX) :].lower(): text for name, text in environment.items() if name.startswith(PREFIX)}
    types = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    values: dict[str, object] = {}
    for name, text in given.items():
        if name not in types:
            raise SettingsError(f"{PREFIX}{name.upper()} is not a setting of Beacon")
        if name in SECRETS | ADDRESSES:
            text = _clean(f"{PREFIX}{name.upper()}", text)  # noqa: PLW2901 - stripped
        if text == "":
            continue
        try:
            values[name] = READERS[name](text) if name in READERS else msgspec.convert(text, types[name], strict=False)
        except (ValueError, msgspec.ValidationError) as error:
            raise SettingsError(f"{PREFIX}{name.upper()}: {error}") from error
    settings = Settings(**values)  # type: ignore[arg-type]
    try:
        locations.check_home(settings.home)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}HOME: {error}") from error
    try:
        check_log(settings)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{error}") from error
    if problem := engines.problem_of(settings.engine, settings.read_store):
        raise SettingsError(problem)
    return settings


def clean_credentials(environment: MutableMapping[str, str] = os.environ) -> None:
    """Strip every credential of the spaces and line breaks that files and secrets add.

    Libraries put credentials into headers unchanged, and quote the whole header when it cannot be sent. So raises
    `SettingsError` here for a value that is not valid in a header.
    """
    for name, text in environment.items():
        own = name.startswith(PREFIX) and name[len(PREFIX) :].lower() in SECRETS | ADDRESSES
        if own or name.startswith(LIBRARY_PREFIXES) or name.lower().endswith("_proxy"):
            environment[name] = _clean(name, text)


def _clean(name: str, text: str) -> str:
    text = text.strip()
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        raise SettingsError(f"{name}: must be one line without control characters")
    return text


def make_home(settings: Settings) -> None:
    """Create the folder of all state; raises `SettingsError` if it cannot be written to."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        raise SettingsError(f"{PREFIX}HOME: {settings.home}: {error.strerror}") from error
