"""Keys of model signatures: make a pair, or show the ids of those in force. Exit 0 done, 1 refused.

`new FOLDER` writes the private key and its public key there. The private one goes where packages are made, the public
one into the file of keys of everybody who reads them, beside those that are still in use.
"""

from pathlib import Path

from beacon_core.domain.errors import ConfigurationError
from beacon_core.model_package.signature import trust_of
from beacon_core.platform import results
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import run_command
from beacon_core.platform.settings import Settings
from beacon_core.platform.signing_keys import read_private_key, write_key_pair

PRIVATE_FILE, PUBLIC_FILE = "model-signing.pem", "model-keys.pem"


def main(settings: Settings) -> int:
    """Make a pair, or show the ids."""
    parser = CommandParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="make a pair")
    new.add_argument("folder", type=Path)
    commands.add_parser("show", help="the ids of the keys that the settings name")
    given = parser.parse_args()
    return _new(given.folder) if given.command == "new" else _show(settings)


def _new(folder: Path) -> int:
    private, public = folder / PRIVATE_FILE, folder / PUBLIC_FILE
    for file in (private, public):
        if file.exists():
            raise ConfigurationError(f"{file}: is there already")
    results.say(f"key {write_key_pair(private, public).id}: {private} (private), {public}")
    return 0


def _show(settings: Settings) -> int:
    trust = trust_of(settings)
    results.say(f"a signature is {'required' if trust.required else 'not required'}")
    for name in sorted(trust.keys):
        results.say(f"trusted: {name}")
    if settings.signing_key_file.exists():
        results.say(f"signs:   {read_private_key(settings.signing_key_file).id}")
    return 0


def run() -> int:
    """Make a pair of keys of model signatures, or show those in force."""
    return run_command("signing-keys", main)
