"""Make the Secrets of an installation, where there are none, with random content. Exit 0 done, 1 refused, 75 try again.

It runs in a pod that may create Secrets and ConfigMaps and read none: an object is there where the API would refuse to
create it.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from beacon_core.commands.cluster_secrets import ApiObject, Name, make_missing, wanted
from beacon_core.platform.arguments import CommandParser
from beacon_core.platform.job import log, map_errors, run_job
from beacon_core.platform.settings import load_settings

if TYPE_CHECKING:
    from beacon_core.platform.kubernetes import Access


class Api:
    """The objects of the namespace of `access`."""

    def __init__(self, access: "Access") -> None:
        from kubernetes.client import CoreV1Api  # noqa: PLC0415 - only a pod loads the cluster's client

        self._access, core = access, CoreV1Api(access.client())
        self._creates = {"Secret": core.create_namespaced_secret, "ConfigMap": core.create_namespaced_config_map}

    def there(self, names: Collection[Name]) -> set[Name]:
        """Which of them there are."""
        return {name for name in names if self._is_there(*name)}

    def create(self, made: ApiObject, **options: str) -> None:
        """Create one."""
        self._access.call(self._creates[made["kind"]], body=made, **options)

    def _is_there(self, kind: str, name: str) -> bool:
        from beacon_core.platform.kubernetes import CONFLICT, ClusterError  # noqa: PLC0415 - see above

        try:
            self.create({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}, dry_run="All")
        except ClusterError as error:
            if error.status == CONFLICT:
                return True
            raise
        return False


@map_errors("the Secrets are not made", "the Secrets are not made, try again")
def main() -> int:
    """Make what is missing."""
    CommandParser(description=__doc__).parse_args()
    from beacon_core.platform.kubernetes import pod_access  # noqa: PLC0415 - see above

    made = make_missing(Api(pod_access()), load_settings().installation)
    log.info("%d of %d objects were there, the others are made", len(wanted()) - len(made), len(wanted()))
    return 0


def run() -> int:
    """Run as a process of its own."""
    return run_job("make-secrets", main)
