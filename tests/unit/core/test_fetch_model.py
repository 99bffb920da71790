"""What a pod fetches before it serves."""

import pytest

from beacon_core.commands import fetch_model


@pytest.mark.parametrize(("content", "status"), [(b"", 0), (b"{", 1), (None, 1)])
def test_a_pod_without_a_model_fetches_none(content, status, tmp_path, monkeypatch):
    """An annotation that is not there yet is an empty file; a damaged or missing one is refused."""
    file = tmp_path / "release.json"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("BEACON_HOME", str(tmp_path))
    monkeypatch.setenv("BEACON_RELEASE", str(file))
    monkeypatch.setattr("sys.argv", ["fetch_model.py"])
    assert fetch_model.main() == status
    assert not (tmp_path / "models").exists()
