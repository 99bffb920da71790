"""Install: a package's folder is written in one step, or not at all."""

from pathlib import Path

from beacon_core.model_package.manifest import Manifest, Package, read_package, write_manifest
from beacon_core.model_package.signature import SIGNATURE_FILE
from beacon_core.platform.files import draft_folder_of, write_atomically


def install(package: Package, models: Path, signature: bytes | None) -> Package:
    """Copy a package to `models`/NAME/VERSION with its signature; raises `PackageError` when another one is there.

    In one step, or, where the package is there, its signature alone.
    """
    folder = models / package.manifest.product / package.manifest.version
    if folder.exists():
        installed = read_package(folder, package.sha256)
        if signature is not None:
            write_atomically(folder / SIGNATURE_FILE, signature)
        return installed
    contents = {name: (package.folder / name).read_bytes() for name in package.manifest.files}
    return place(folder, contents | ({} if signature is None else {SIGNATURE_FILE: signature}), package.manifest)


def place(folder: Path, contents: dict[str, bytes], manifest: Manifest) -> Package:
    """Write a package's files and manifest to `folder`, replacing what is there, and read it back."""
    with draft_folder_of(folder) as draft:
        for name, content in contents.items():
            (draft / name).write_bytes(content)
        sha256 = write_manifest(draft, manifest)
    return read_package(folder, sha256)
