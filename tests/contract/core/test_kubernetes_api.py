"""The API of a cluster, spoken to over a real socket by the official client."""

import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.client import BatchV1Api, Configuration, CoreV1Api
from kubernetes.config import incluster_config

from beacon_core.domain.exit_statuses import TRY_AGAIN
from beacon_core.platform import kubernetes
from beacon_core.platform.kubernetes import CONFLICT, NOT_FOUND, Access, ClusterError, pod_access
from beacon_core.platform.pod import is_pod

PODS = "/api/v1/namespaces/beacon/pods"


class Api(BaseHTTPRequestHandler):
    """Answers every request with what it was asked, but for some names."""

    requests = 0

    def _answer(self) -> None:
        type(self).requests += 1
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        kind, authorization = self.headers["Content-Type"], self.headers["Authorization"]
        asked = {"asked": self.path, "type": kind, "by": self.command, "body": body, "as": authorization}
        status, answer = 200, json.dumps(asked)
        if self.path.endswith("/jobs"):
            status, answer = CONFLICT, json.dumps({"message": 'jobs.batch "retrain-drift-1" already exists'})
        if "/broken" in self.path:
            answer = "no JSON"
        if "/gone/" in self.path:
            status, answer = NOT_FOUND, "no JSON"
        if self.path.endswith("/hangs"):
            time.sleep(3)
        if self.path.endswith("/cut"):
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[int]:
    """The API on a port; by TLS where there is a certificate and its key in one file."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    """A pod's environment and account, of an API by TLS whose authority is the account's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kube-apiserver")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "server.pem").write_bytes(certificate + key.private_bytes(*plain))
    (tmp_path / "ca.crt").write_bytes(certificate)
    (tmp_path / "token").write_text("first")
    (tmp_path / "namespace").write_text("beacon\n")
    with serving(tmp_path / "server.pem") as port:
        yield {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}, tmp_path


def access_to(host: str) -> Access:
    configuration = Configuration(host)
    configuration.retries, configuration.proxy = False, None
    return Access(configuration, "beacon")


@pytest.fixture
def access(server: str) -> Access:
    return access_to(server)


def test_a_query_is_encoded_and_a_patch_merges(access: Access) -> None:
    core = CoreV1Api(access.client())
    asked = access.call(core.list_namespaced_pod, label_selector="a=b,c in (d)")
    assert asked["asked"] == f"{PODS}?labelSelector=a%3Db%2Cc+in+%28d%29"
    assert (asked["by"], asked["type"]) == ("GET", "application/json")
    patched = access.call(core.patch_namespaced_pod, name="x", body={"a": None})
    assert (patched["by"], patched["type"]) == ("PATCH", "application/strategic-merge-patch+json")
    assert json.loads(patched["body"]) == {"a": None}


def test_an_apply_is_the_servers(access: Access) -> None:
    core = CoreV1Api(access.client("application/apply-patch+yaml"))
    apply = core.patch_namespaced_config_map
    asked = access.call(apply, name="x", body={"kind": "ConfigMap"}, field_manager="beacon", force=True)
    assert asked["asked"] == "/api/v1/namespaces/beacon/configmaps/x?fieldManager=beacon&force=True"
    assert (asked["type"], json.loads(asked["body"])) == ("application/apply-patch+yaml", {"kind": "ConfigMap"})


def test_a_refusal_says_what_the_api_said(access: Access) -> None:
    batch = BatchV1Api(access.client())
    named = 'create_namespaced_job: 409 jobs.batch "retrain-drift-1" already exists'
    with pytest.raises(ClusterError, match=named) as refused:
        access.call(batch.create_namespaced_job, body={})
    assert refused.value.status == CONFLICT
    assert refused.value.exit_status == TRY_AGAIN


def test_no_answer_and_no_json_are_told(access: Access) -> None:
    core = CoreV1Api(access.client())
    with pytest.raises(ClusterError, match="read_namespaced_pod: JSONDecodeError") as broken:
        access.call(core.read_namespaced_pod, name="broken")
    assert broken.value.status is None
    nowhere = access_to("http://127.0.0.1:1")
    with pytest.raises(ClusterError, match="ConnectionRefused") as refused:
        nowhere.call(CoreV1Api(nowhere.client()).read_namespaced_pod, name="x")
    assert refused.value.status is None


def test_a_request_that_fails_is_sent_once(access: Access) -> None:
    before = Api.requests
    with pytest.raises(ClusterError, match="read_namespaced_pod: RemoteDisconnected"):
        access.call(CoreV1Api(access.client()).read_namespaced_pod, name="cut")
    assert Api.requests == before + 1


def test_an_api_that_does_not_answer_in_time_is_told(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    # The client takes a float for no timeout.
    assert isinstance(kubernetes.TIMEOUT_SECONDS, int)
    assert kubernetes.TIMEOUT_SECONDS == 10
    monkeypatch.setattr(kubernetes, "TIMEOUT_SECONDS", 1)
    with pytest.raises(ClusterError, match="it took too long") as late:
        access.call(CoreV1Api(access.client()).read_namespaced_pod, name="hangs")
    assert late.value.status is None


def test_a_log_is_text(access: Access) -> None:
    core = CoreV1Api(access.client())
    assert access.text(core.read_namespaced_pod_log, name="broken") == "no JSON"
    with pytest.raises(ClusterError, match="read_namespaced_pod_log: 404 no JSON") as refused:
        access.text(core.read_namespaced_pod_log, name="gone", tail_lines=5)
    assert refused.value.status == NOT_FOUND


def test_only_a_pod_has_access(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert not is_pod({}, tmp_path)
    assert not is_pod(environment, tmp_path)
    with pytest.raises(ClusterError, match="no access to its cluster: Service token file does not exist") as none:
        pod_access(environment, tmp_path)
    assert none.value.exit_status == TRY_AGAIN
    for name, text in (("token", "t"), ("namespace", "beacon\n"), ("ca.crt", "c")):
        (tmp_path / name).write_text(text)
    assert is_pod(environment, tmp_path)
    assert not is_pod({}, tmp_path)
    access = pod_access(environment, tmp_path)
    assert (access.namespace, access.configuration.host) == ("beacon", "https://10.0.0.1:6443")
    assert access.configuration.ssl_ca_cert == str(tmp_path / "ca.crt")


def test_no_proxy_stands_between_a_pod_and_its_api(
    pod: tuple[dict[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    access = pod_access(*pod)
    assert access.call(CoreV1Api(access.client()).list_namespaced_pod)["asked"] == PODS


def test_an_api_of_another_authority_is_told_nothing(pod: tuple[dict[str, str], Path]) -> None:
    access = pod_access(*pod)
    access.configuration.ssl_ca_cert = access.configuration.refresh_api_key_hook = None
    core, before = CoreV1Api(access.client()), Api.requests
    with pytest.raises(ClusterError, match=r"list_namespaced_pod: SSLError.*CERTIFICATE_VERIFY_FAILED") as refused:
        access.call(core.list_namespaced_pod)
    assert refused.value.status is None
    assert Api.requests == before


def test_the_token_is_read_anew_before_the_kubelet_replaces_it(
    pod: tuple[dict[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    access, token = pod_access(*pod), pod[1] / "token"
    core = CoreV1Api(access.client())
    assert access.call(core.list_namespaced_pod)["as"] == "bearer first"
    token.write_text("second")
    monkeypatch.setattr(incluster_config, "datetime", in_seconds(61))
    assert access.call(core.list_namespaced_pod)["as"] == "bearer second"
    # Without a token no request goes out.
    monkeypatch.setattr(incluster_config, "datetime", in_seconds(180))
    token.write_text("")
    with pytest.raises(ClusterError, match="list_namespaced_pod: Token file exists but empty"):
        access.call(core.list_namespaced_pod)


def in_seconds(seconds: float) -> SimpleNamespace:
    """The module datetime, as it will be."""

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Later":
            return cls.fromtimestamp(time.time() + seconds, tz)

    return SimpleNamespace(datetime=Later, timedelta=datetime.timedelta)
