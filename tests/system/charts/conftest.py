import pytest
from support.rendering import helm

from tools.schema import charts


@pytest.fixture(scope="session", autouse=True)
def library() -> None:
    for folder in charts():
        done = helm("dependency", "update", str(folder))
        assert done.returncode == 0, done.stderr
