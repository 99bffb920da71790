"""The page of the API shows the product's title as text, and says that it runs no script but its own."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from support.logged_inference import create
from support.packages import release_package
from support.products import MIXED
from support.service import METRICS_PORT, PORT, Service
from support.settings import Settings

from beacon_core.platform.product_file import load_product

TITLE = "<script>alert(1)</script> & Sons"


def test_a_title_is_no_script_and_the_policy_names_the_pages_own(tmp_path: Path) -> None:
    file = tmp_path / "product.yaml"
    text = re.sub(r"^title: .*$", f'title: "{TITLE}"', MIXED.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    assert TITLE in text
    file.write_text(text, encoding="utf-8")
    home = tmp_path / "home"
    release_package(home, load_product(file))
    settings = Settings(home=home, product=file, inference_port=PORT, inference_metrics_port=METRICS_PORT)
    with Service(create(settings)) as service:
        answer = service.get("/docs")
    page = answer.body.decode()
    assert TITLE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Sons" in page
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    for tag in ("script", "style"):
        own = re.findall(f"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
        assert own
        digests = [f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'" for part in own]
        assert policy[f"{tag}-src"].split() == digests
