"""What it costs to know a client, in microseconds a request: a part of `make bench-parts`, and of `make bench`.

With 10,000 keys of one file, and with the JWTs of an issuer that have a quota, beside them. As a program it prints the
figures as JSON.
"""

import asyncio
import base64
import gc
import json
import random
import sys
import tempfile
import time
import timeit
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = map(str, (ROOT, ROOT / "tests"))

import jwt  # noqa: E402
import msgspec  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: E402
from harness.access import AccessCost  # noqa: E402
from prometheus_client import CollectorRegistry  # noqa: E402
from support.api_keys import entry, write_keys  # noqa: E402

from beacon_core.domain.api_keys import Scope, new_key  # noqa: E402
from beacon_core.domain.quotas import Quota  # noqa: E402
from beacon_core.platform.settings import Settings  # noqa: E402
from beacon_core.web.access import AccessControl  # noqa: E402
from beacon_core.web.http import Request  # noqa: E402

KEYS = 10_000
ROUNDS, CHECKS = 7, 20_000
MOST_KEY_MICROSECONDS, MOST_TOKEN_MICROSECONDS = 5.0, 60.0
"""Of a check, of a token that was seen before."""
SCOPES: frozenset[Scope] = frozenset({"predict", "actuals"})
ISSUER, AUDIENCE = "https://issuer.example", "beacon"


def measure_access(folder: Path) -> list[AccessCost]:
    """Measure keys, and tokens of the two kinds that issuers sign most."""
    keys = [new_key() for _ in range(KEYS)]
    file = write_keys(folder / "keys.json", *(entry(f"c{n}", key, "actuals") for n, key in enumerate(keys)))
    by_key = _check(Settings(api_keys_file=file), [_request(key) for key in random.Random(0).sample(keys, 1000)])
    found = [AccessCost(f"API key, of {KEYS:,}", by_key, None, MOST_KEY_MICROSECONDS)]
    for name, private in (
        ("RS256", rsa.generate_private_key(65537, 2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
    ):
        public = jwt.get_algorithm_by_name(name).to_jwk(private.public_key(), as_dict=True)
        (folder / "jwks.json").write_text(json.dumps({"keys": [dict(public) | {"kid": name}]}), encoding="utf-8")
        tokens = [_token(private, name, number) for number in range(1000)]
        own: dict[str, Any] = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_quota": Quota(1e9)}
        issued = Settings(api_keys_file=file, jwt_jwks_url=(folder / "jwks.json").as_uri(), **own)
        again = _check(issued, [_request(token) for token in tokens])
        first = _check(issued, [_request(token) for token in tokens], once=True)
        found.append(AccessCost(f"JWT by {name}, known", again, first, MOST_TOKEN_MICROSECONDS))
    return found


def _check(settings: Settings, requests: Sequence[Request], *, once: bool = False) -> float:
    """Microseconds of a check; the least of the rounds, as other work only adds. `once`: of tokens not seen before."""
    access = AccessControl(settings, SCOPES, ("api-key", ""), CollectorRegistry())
    asyncio.run(access.ask_issuer())

    def each() -> None:
        for request in requests:
            access.admit(request, "actuals")

    gc.collect()
    if once:
        return timeit.timeit(each, timer=time.thread_time, number=1) / len(requests) * 1e6
    each()
    rounds = CHECKS // len(requests)
    taken = timeit.repeat(each, timer=time.thread_time, repeat=ROUNDS, number=rounds)
    return min(taken) / (rounds * len(requests)) * 1e6


def _request(key: str) -> Request:
    fields = [(b"host", b"beacon"), (b"content-type", b"application/json")]
    return Request({"method": "POST", "headers": [*fields, (b"authorization", f"Bearer {key}".encode())]})


def _token(private: Any, name: str, number: int) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"client-{number % 100}", "iat": now, "exp": now + 3600}
    filling = base64.b64encode(random.Random(number).randbytes(300)).decode()  # as long as those of large issuers
    return jwt.encode(claims | {"scope": "predict actuals", "x": filling}, private, name, {"kid": name})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(msgspec.json.encode(measure_access(Path(place))).decode())
