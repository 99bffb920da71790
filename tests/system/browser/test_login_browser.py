"""A person logs in, decides and logs out in a real browser, which holds the pages to their policy and cookies."""

from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser
from sqlalchemy import select
from support.history import add_verdict
from support.issuer import SECRET, Issuer
from support.ports import free_port
from support.products import SPEC
from support.server import CONSOLE, Server

from beacon_core.data.database import migrate, open_store
from beacon_core.data.tables import approvals
from beacon_core.platform.product_file import load_product


def test_a_person_logs_in_decides_and_logs_out(browser: Browser, tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'beacon.db'}")
    migrate(engine)
    add_verdict(engine, load_product(SPEC), datetime.now(UTC))
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    login = {"console_login": "oidc", "oidc_client_id": "console", "oidc_client_secret": SECRET}
    login |= {"console_session_key": "k" * 40, "oidc_redirect_url": f"{address}/login/callback"}
    with Issuer() as issuer:
        issuer.user = {"sub": "1", "email": "ada@example.com", "groups": ["leads"]}
        server = Server(tmp_path, CONSOLE, **login, oidc_issuer=issuer.url, console_approvers="leads")
        server._environment["BEACON_CONSOLE_PORT"] = str(port)
        server.port, server.address = port, address
        server.start()
        context = browser.new_context()
        context.set_default_timeout(60_000)
        try:
            page = context.new_page()
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text))
            answer = page.goto(f"{address}/models/3")
            assert answer is not None
            assert (answer.status, page.url) == (200, f"{address}/models/3")
            assert page.get_by_text("ada@example.com, approver").is_visible()
            page.get_by_label("Why").fill("it is better")
            page.get_by_role("button", name="Approve").click()
            page.wait_for_url("**/models/3#verdict")
            assert page.get_by_text("by ada@example.com").is_visible()
            page.get_by_role("button", name="Log out").click()
            assert page.get_by_role("heading", name="Logged out").is_visible()
            assert context.cookies() == []
            issuer.user = {"sub": "2", "email": "eve@example.com", "groups": []}
            answer = page.goto(f"{address}/drift")
            assert answer is not None
            assert answer.status == 403
            assert [text for text in complaints if "403" not in text] == []
        finally:
            context.close()
            server.stop()
    with engine.connect() as connection:
        assert connection.execute(select(approvals.c.person)).scalars().all() == ["ada@example.com"]
    engine.dispose()
