"""DVC in a workspace, and with a remote, of any path: what was made is pushed, and comes back."""

import shutil
from pathlib import Path

import pytest
from support.nasty import TOGETHER

from beacon_core.platform.settings import load_settings
from beacon_retraining.pipeline import dvc, remote, workspace

REMOTES = (None, TOGETHER[0], TOGETHER[1].replace("%(a)s", "%a"))
PIPELINE = """\
stages:
  made:
    cmd: python -c "import os; open('made.txt', 'w').write(os.getcwd())"
    outs: [made.txt]
"""


@pytest.mark.parametrize(("home", "bucket"), [*zip(TOGETHER, REMOTES, strict=True)])
def test_what_was_pushed_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, bucket: str | None
) -> None:
    monkeypatch.setenv("BEACON_HOME", str(tmp_path / "state" / home / "home"))
    if bucket is not None:
        monkeypatch.setenv("BEACON_DVC_REMOTE", str(tmp_path / "remote" / bucket / "r"))
    settings = load_settings()
    folder = workspace.prepare(settings, workspace.default_training(), workspace.Run("now", "test"))
    (folder / "dvc.yaml").write_text(PIPELINE)
    assert dvc.reproduce(folder, force=False)
    made = folder / "made.txt"
    assert made.read_text() == str(folder)
    assert remote.push(settings, folder) == f"pushed to {settings.dvc_address}"
    assert {file.name for file in Path(settings.dvc_address).iterdir()} == {"dvc.lock", "files"}
    made.unlink()
    shutil.rmtree(folder / ".dvc" / "cache")
    assert remote.pull(settings, folder)
    assert made.read_text() == str(folder)
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("dvc.lock")} == {
        str((folder / "dvc.lock").relative_to(tmp_path)),
        str((Path(settings.dvc_address) / "dvc.lock").relative_to(tmp_path)),
    }
