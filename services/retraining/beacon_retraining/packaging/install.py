"""Install: a package's folder is written whole, or not at all."""

import shutil
import tempfile
from pathlib import Path

from beacon_core.model_package.manifest import Manifest, Package, read_package, write_manifest


def install(package: Package, models: Path) -> Package:
    """Copy a package to `models`/NAME/VERSION in one step; raises `PackageError` when another one is there."""
    folder = models / package.manifest.product / package.manifest.version
    if folder.exists():
        return read_package(folder, package.sha256)
    contents = {name: (package.folder / name).read_bytes() for name in package.manifest.files}
    return place(folder, contents, package.manifest)


def place(folder: Path, contents: dict[str, bytes], manifest: Manifest) -> Package:
    """Write a package's files and manifest to `folder`, replacing what is there, and read it back."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # mkdtemp opens the folder to its owner only; inference may run as another user.
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        draft.chmod(0o755)
        for name, content in contents.items():
            (draft / name).write_bytes(content)
        sha256 = write_manifest(draft, manifest)
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return read_package(folder, sha256)
