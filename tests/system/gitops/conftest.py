from collections.abc import Iterator

import pytest
from support.argocd import argo_cd
from support.control_plane import ControlPlane, control_plane, missing_programs
from support.rendering import update_dependencies
from system.gitops.tools import NAMESPACE, TOOLS, namespace_of, promotion_of


@pytest.fixture(scope="session", autouse=True)
def library() -> None:
    update_dependencies()


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    missing = missing_programs()
    if missing:
        pytest.skip(f"a Kubernetes API needs {', '.join(missing)}")
    with control_plane([promotion_of(name) for name in (NAMESPACE, *map(namespace_of, TOOLS))]) as running:
        yield running


@pytest.fixture(scope="session")
def charts(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The repository of charts of Argo CD, which is at work on the control plane."""
    with argo_cd(plane, tmp_path_factory.mktemp("argocd")) as address:
        yield address
