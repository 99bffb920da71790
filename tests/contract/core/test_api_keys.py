"""API keys on real servers: a start that is refused in one line, and keys that change while it serves."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.api_keys import entry, keys_for, write_keys
from support.feature_homes import feature_home, fill_from_file, items
from support.packages import release_package, row_of
from support.products import MIXED
from support.server import FEATURES, INFERENCE, Program, Server, serving

from beacon_core.domain.api_keys import new_key
from beacon_core.platform.product_file import load_product
from beacon_core.platform.settings import ROOT

pytestmark = pytest.mark.slow

PRODUCT = load_product(MIXED)
ROW = {name: value for name, value in zip(PRODUCT.feature_names, row_of(PRODUCT), strict=True) if value is not None}
BODY = {"features": ROW}
OLD, NEW, LAB = new_key(), new_key(), new_key()
SEEN_SECONDS = 20


def start(program: Program, home: Path, **settings: str) -> tuple[int, list[str]]:
    """Start a service that is to refuse; its exit status and what it logged."""
    named = {"HOME": str(home), "PRODUCT": str(MIXED)} | {name.upper(): text for name, text in settings.items()}
    done = subprocess.run(
        [ROOT / ".venvs" / program.environment / "bin" / "python", "-m", program.module],
        env={f"BEACON_{name}": text for name, text in named.items()} | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, [str(json.loads(line)["message"]) for line in done.stderr.splitlines()]


@pytest.mark.parametrize("program", [INFERENCE, FEATURES], ids=["inference", "feature serving"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "(file): No such file or directory"),
        ("", "(file): is empty"),
        ("keys: []", "keys: must have at least one key"),
        ("keys: [{name: shop, sha256: 12, scopes: [predict]}]", "keys[0].sha256: must be text"),
        ("keys: [{name: shop, digest: a, scopes: [predict]}]", "keys[0]: has the unknown key `digest`"),
    ],
)
def test_a_bad_file_stops_the_start_with_one_line(
    tmp_path: Path, program: Program, content: str | None, words: str
) -> None:
    file = tmp_path / "keys.yaml"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    status, lines = start(program, tmp_path, api_keys_file=str(file))
    assert status == 1
    (line,) = lines
    assert line.startswith(f"{file}: ")
    assert words in line


def ask(server: Server, key: str, path: str = "/v1/predict", body: Any = BODY) -> int:
    return httpx.post(f"{server.address}{path}", json=body, headers={"Authorization": f"Bearer {key}"}).status_code


def becomes(server: Server, key: str, status: int) -> None:
    """Wait until the key gets that status."""
    end = time.monotonic() + SEEN_SECONDS
    while ask(server, key) != status:
        assert time.monotonic() < end, server.log()
        time.sleep(0.1)


def test_a_bad_key_is_refused_before_its_body_has_come(tmp_path: Path) -> None:
    """On the wire: of a large body not a byte is needed; after a small one the connection goes on."""
    release_package(tmp_path, PRODUCT)
    file = write_keys(tmp_path / "keys.json", entry("shop", OLD, "predict") | {"requests_per_day": 1_000_000})
    with serving(tmp_path, INFERENCE, api_keys_file=file, closed_scopes="predict", product=MIXED) as server:
        host, port = server.address.removeprefix("http://").split(":")
        fields = "Host: beacon\r\nContent-Type: application/json\r\nX-API-Key: wrong"
        for path in ("/v1/predict", "/v1/actuals"):
            for length in ("Content-Length: 30000000", "Transfer-Encoding: chunked"):
                with socket.create_connection((host, int(port)), timeout=60) as wire:
                    wire.sendall(f"POST {path} HTTP/1.1\r\n{fields}\r\n{length}\r\n\r\n".encode())
                    answer = b""
                    while b"the API key is not known" not in answer:
                        part = wire.recv(65536)
                        assert part, answer
                        answer += part
                    assert answer.startswith(b"HTTP/1.1 401 ")
                    assert b"connection: close" in answer.lower()
        with httpx.Client(base_url=server.address) as client:
            for key, status in (("wrong", 401), (OLD, 200), ("wrong", 401)):
                reply = client.post("/v1/predict", json=BODY, headers={"X-API-Key": key})
                assert (reply.status_code, reply.headers.get("connection")) == (status, None)


def test_keys_are_changed_as_kubernetes_changes_a_secret(tmp_path: Path) -> None:
    release_package(tmp_path, PRODUCT)
    mounted = tmp_path / "keys"

    def mount(name: str, *entries: dict[str, Any]) -> None:
        """A folder of the Secret's version, to which a link is turned in one step."""
        folder = mounted / f"..{name}"
        folder.mkdir(parents=True)
        if entries:
            write_keys(folder / "keys.yaml", *entries)
        else:
            (folder / "keys.yaml").write_text("keys: [", encoding="utf-8")
        (mounted / "..new").symlink_to(folder.name)
        (mounted / "..new").replace(mounted / "..data")

    shop, lab = entry("shop", OLD, "predict"), entry("lab", LAB, "actuals")
    mount("1", shop, lab)
    (mounted / "keys.yaml").symlink_to("..data/keys.yaml")
    given = {"api_keys_file": mounted / "keys.yaml", "closed_scopes": "predict", "product": MIXED}
    with serving(tmp_path, INFERENCE, **given) as server:
        assert [ask(server, key) for key in (OLD, NEW, LAB)] == [200, 401, 403]
        mount("2", shop, lab, entry("shop", NEW, "predict"))
        becomes(server, NEW, 200)
        assert ask(server, OLD) == 200, "both count"
        mount("3", lab, entry("shop", NEW, "predict"))
        becomes(server, OLD, 401)
        mount("4")
        end = time.monotonic() + SEEN_SECONDS
        while "API keys not read" not in server.log():
            assert time.monotonic() < end
            time.sleep(0.1)
        assert [ask(server, key) for key in (OLD, NEW, LAB)] == [401, 200, 403]
        metrics = httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics").text
        assert 'beacon_client_requests_total{client="shop",status="200"}' in metrics
        log = server.log()
        assert '"client":"lab"' in log
        assert not any(key in log or key in metrics for key in (OLD, NEW, LAB))
        assert server.stop() == 0


def test_features_are_for_who_has_their_scopes_and_inference_has_a_key_of_its_own(tmp_path: Path) -> None:
    product = items(tmp_path)
    home = tmp_path / "home"
    keys = keys_for("features", "push", "materialize", "predict")
    file = write_keys(tmp_path / "keys.json", *(entry(f"only-{scope}", key, scope) for scope, key in keys.items()))
    release_package(home, product)
    with feature_home(home, "sqlite") as settings, pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEACON_PRODUCT", str(tmp_path / "product.yaml"))
        fill_from_file(settings, product)
    given = {"api_keys_file": file, "product": tmp_path / "product.yaml", "closed_scopes": "features"}
    asked = {"feature_service": product.feature_service, "entities": {product.keys[0]: [3]}}
    with serving(home, FEATURES, **given) as features:
        found = {scope: ask(features, key, "/get-online-features", asked) for scope, key in keys.items()}
        assert found == {"features": 200, "push": 403, "materialize": 403, "predict": 403}
        assert ask(features, "nobody's", "/get-online-features", asked) == 401
        # Whoever may not is told before the empty body is read.
        for path, scope in (
            ("/push", "push"),
            ("/write-to-online-store", "push"),
            ("/materialize", "materialize"),
            ("/materialize-incremental", "materialize"),
        ):
            assert {each: ask(features, key, path, {}) for each, key in keys.items()} == {
                each: 422 if each == scope else 403 for each in keys
            }
        entity = {"entity": {product.keys[0]: 3}}
        given |= {"features_url": features.address, "features_timeout_seconds": 30}
        for key, status in ((keys["features"], 200), (keys["push"], 503), ("", 503)):
            with serving(home, INFERENCE, **given, features_key=key) as inference:
                assert ask(inference, keys["predict"], "/v1/predict", entity) == status
