import pytest
from support.rendering import update_dependencies


@pytest.fixture(scope="session", autouse=True)
def library() -> None:
    update_dependencies()
