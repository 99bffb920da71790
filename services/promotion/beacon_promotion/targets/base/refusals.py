"""Why a model is not served, as a reason of the ledger: from the service's message, or the state of a pod."""

from typing import Any, NamedTuple

from beacon_core.domain.ledger_entries import Reason

# The first text that is found decides. The texts are those of beacon_core.model_package (signature, manifest, download)
# and of beacon_inference.models.model, and a test holds them to the real messages.
MESSAGES: tuple[tuple[str, Reason], ...] = (
    ("must have signed it", "not_signed"),
    ("sha256 is ", "digest_mismatch"),
    ("holds other bytes", "digest_mismatch"),
    ("trained on another schema", "schema_mismatch"),
    ("has the features", "schema_mismatch"),
    ("is of product", "schema_mismatch"),
    ("says that it is version", "schema_mismatch"),
    ("has intervals of coverage", "schema_mismatch"),
    ("golden", "golden_mismatch"),
    (" answers to ", "golden_mismatch"),
    (" has no ", "package_missing"),
    ("No such file", "package_missing"),
    ("does not run", "crash_at_load"),
)
KILLED, HUNG = "was sent SIGKILL", "WORKER TIMEOUT"
"""What gunicorn logs of a worker that something killed, and of one that it kills itself because it hangs."""
NO_MODEL_YET = "no model is in service yet"


class Refusal(NamedTuple):
    """Why a pod does not serve its model."""

    reason: Reason
    message: str


def reason_of(message: str) -> Reason:
    """The ledger's reason for the message with which a service refused a model."""
    return next((reason for text, reason in MESSAGES if text in message), "crash_at_load")


def of_pod(pod: dict[str, Any]) -> Refusal | None:
    """Why a pod (of the API) cannot serve, from its containers' states; None while it still may."""
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        for state in (container.get("state", {}), container.get("lastState", {})):
            ended = state.get("terminated")
            if ended is None or ended.get("exitCode") == 0:
                continue
            message = f"{pod['metadata']['name']}: {ended.get('message', '').strip()[-500:]}"
            if ended.get("reason") == "OOMKilled":
                return Refusal("memory", f"{pod['metadata']['name']}: {container['name']} was killed for its memory")
            return Refusal(reason_of(message), message)
    if status.get("phase") == "Failed":
        return Refusal("not_ready", f"{pod['metadata']['name']}: {status.get('reason')} {status.get('message', '')}")
    return None


def of_log(name: str, text: str) -> Refusal | None:
    """Why a worker was killed, by the pod's log; None if none was.

    Where the node's kernel knows cgroups v1, a process that takes too much memory is killed and its container is not:
    gunicorn starts another one, and the pod's own state never shows it.
    """
    if KILLED not in text or HUNG in text:
        return None
    return Refusal("memory", f"{name}: its worker was killed, as happens to one that takes more memory than its limit")
