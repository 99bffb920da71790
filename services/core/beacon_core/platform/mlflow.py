"""MLflow's REST API over HTTP, for processes that must not spend seconds on importing its library.

Authentication is that of MLflow's own client: a user in the address, else MLFLOW_TRACKING_USERNAME and
MLFLOW_TRACKING_PASSWORD, else MLFLOW_TRACKING_TOKEN. So is the trust in its certificate: the authorities of the file
MLFLOW_TRACKING_SERVER_CERT_PATH, else those of the system, and always its name.
"""

import base64
import http.client
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

import msgspec

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.domain.masking import mask, message_of

API = "/api/2.0/mlflow"
TIMEOUT_SECONDS = 10.0
MOST_VERSIONS = "10000"
"""How many versions a search lists, as many as MLflow's own client does."""
MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
"""How MLflow says that there is no such model, version, run or file (404) or alias (400)."""

CERTIFICATES = "MLFLOW_TRACKING_SERVER_CERT_PATH"
CREDENTIALS_HINT = "; is MLFLOW_TRACKING_USERNAME (or _TOKEN) right?"
HINTS = {401: CREDENTIALS_HINT, 403: CREDENTIALS_HINT, 404: "; is that MLflow's address?"}


class RegistryUnavailableError(RuntimeError):
    """MLflow does not answer, or its answer is not one of MLflow's API; a retry may help."""

    exit_status = TRY_AGAIN


class Version(msgspec.Struct, frozen=True):
    """A model version: its number, the run that made it ("": none), its tags."""

    number: str
    run_id: str
    tags: dict[str, str]

    @property
    def sha256(self) -> str:
        """The digest of its package; "" for a version that is not Beacon's."""
        return self.tags.get("sha256", "")


class Mlflow:
    """The server at `address`; every method raises `RegistryUnavailableError`."""

    def __init__(self, address: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self.address, self._headers = sign_in(address)
        self._timeout = timeout

    def version(self, name: str, number: str) -> Version | None:
        """A version by its number; None where there is none (any more)."""
        found = self._call("GET", "model-versions/get", name=name, version=number)
        return None if found is None else self._version(found)

    def versions(self, chosen: str) -> list[Version]:
        """The versions that a filter of MLflow's chooses."""
        found = self._call("GET", "model-versions/search", filter=chosen, max_results=MOST_VERSIONS)
        if found is None:
            raise self._unexpected_answer()
        try:
            return [self._version({"model_version": facts}) for facts in found.get("model_versions", [])]
        except TypeError as error:
            raise self._unexpected_answer() from error

    def version_at(self, name: str, alias: str) -> Version | None:
        """The version that an alias names; None where there is no such model or alias."""
        found = self._call("GET", "registered-models/alias", name=name, alias=alias)
        return None if found is None else self._version(found)

    def move_alias(self, name: str, alias: str, number: str | None) -> None:
        """Set an alias to a version, or delete it (`number` None); does nothing where the version was deleted."""
        if number is not None:
            self._call("POST", "registered-models/alias", name=name, alias=alias, version=number)
        elif self.version_at(name, alias) is not None:
            self._call("DELETE", "registered-models/alias", name=name, alias=alias)

    def aliases(self, name: str) -> dict[str, str]:
        """The number of the version that each alias names."""
        found = self._call("GET", "registered-models/get", name=name) or {}
        try:
            return {item["alias"]: str(item["version"]) for item in found["registered_model"].get("aliases", [])}
        except (KeyError, TypeError, AttributeError):
            return {}

    def model_tags(self, name: str) -> dict[str, str]:
        """The tags of a registered model; none where there is no such model."""
        found = self._call("GET", "registered-models/get", name=name)
        try:
            return {} if found is None else _tags(found["registered_model"])
        except (KeyError, TypeError, AttributeError) as error:
            raise self._unexpected_answer() from error

    def has_run(self, run_id: str) -> bool:
        """Whether a run exists and is not deleted."""
        found = self._call("GET", "runs/get", run_id=run_id) if run_id else None
        try:
            return found is not None and found["run"]["info"].get("lifecycle_stage", "active") == "active"
        except (KeyError, TypeError, AttributeError) as error:
            raise self._unexpected_answer() from error

    def artifact(self, run_id: str, path: str) -> bytes | None:
        """A file of a run; None where the run has none of that name, or is gone."""
        if not run_id:
            return None
        return self._send("GET", "/get-artifact", {"path": path, "run_uuid": run_id})

    def _call(self, method: str, route: str, **fields: str) -> dict[str, Any] | None:
        """One call of the API; None where MLflow knows no such model, version or alias."""
        content = self._send(method, f"{API}/{route}", fields)
        if content is None:
            return None
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise self._unexpected_answer() from error
        if not isinstance(answer, dict):
            raise self._unexpected_answer()
        return answer

    def _version(self, answer: dict[str, Any]) -> Version:
        try:
            facts = answer["model_version"]
            return Version(str(facts["version"]), str(facts.get("run_id", "")), _tags(facts))
        except (KeyError, TypeError, AttributeError) as error:
            raise self._unexpected_answer() from error

    def _send(self, method: str, path: str, fields: Mapping[str, str]) -> bytes | None:
        url, body = f"{self.address}{path}", None
        if method == "GET":
            url += f"?{urllib.parse.urlencode(fields)}"
        else:
            body = json.dumps(fields).encode()
        headers = {"Content-Type": "application/json"} | self._headers
        try:
            request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - the operator's address
            tls = self._tls()
            with urllib.request.urlopen(request, timeout=self._timeout, context=tls) as answer:  # noqa: S310 - as above
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                # A proxy without such a path answers 404 too; only MLflow's own 404 has a code.
                if error.code in {400, 404} and _code(error) in MISSING:
                    return None
            raise RegistryUnavailableError(
                f"{self} answers with status {error.code}{HINTS.get(error.code, '')}"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RegistryUnavailableError(f"{self} does not answer: {message_of(error)}") from error

    def _tls(self) -> ssl.SSLContext | None:
        """How the certificate is verified; the file of authorities is read anew, as it may be replaced."""
        if not self.address.startswith("https:"):
            return None
        authorities = os.environ.get(CERTIFICATES) or None
        try:
            return ssl.create_default_context(cafile=authorities)
        except OSError as error:
            raise RegistryUnavailableError(f"{CERTIFICATES}: {authorities}: {message_of(error)}") from error

    def _unexpected_answer(self) -> RegistryUnavailableError:
        return RegistryUnavailableError(f"{self} does not answer as MLflow's API does")

    def __str__(self) -> str:
        return mask(f"MLflow at {self.address}")


def user_of(address: str) -> tuple[str, str, str]:
    """Split an address into one without a user, the user and the password; both are empty where it names none."""
    scheme, sign, rest = address.rstrip("/").partition("://")
    authority, slash, path = rest.partition("/")
    user, _, place = authority.rpartition("@")
    name, _, password = user.partition(":")
    return f"{scheme}{sign}{place}{slash}{path}", urllib.parse.unquote(name), urllib.parse.unquote(password)


def sign_in(address: str, environment: Mapping[str, str] = os.environ) -> tuple[str, dict[str, str]]:
    """The address without a user, and the header of authentication."""
    plain, name, password = user_of(address)
    if not name:
        name, password = (environment.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    if name and password:
        user = base64.b64encode(f"{name}:{password}".encode()).decode()
        return plain, {"Authorization": f"Basic {user}"}
    token = environment.get("MLFLOW_TRACKING_TOKEN", "")
    return plain, {"Authorization": f"Bearer {token}"} if token else {}


def _tags(facts: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in facts.get("tags", [])}


def _code(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error_code"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
