"""The prediction log's process beside inference: a sidecar that ends last, on the same spool."""

from typing import Any

from support.rendering import containers, pods, rendered


def pod_of(values: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The pod of inference, and its containers by name."""
    found = [
        spec for labels, spec in pods(rendered("inference", values)) if labels["app.kubernetes.io/name"] == "inference"
    ]
    return found[0], {container["name"]: container for container in containers(found[0])}


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def test_the_sidecar_ends_after_inference_and_the_pod_is_ready_without_it() -> None:
    spec, found = pod_of("default-values.yaml")
    sidecar = found["prediction-log"]
    assert sidecar in spec["initContainers"], "the kubelet ends those that always restart after all others"
    assert sidecar["restartPolicy"] == "Always"
    assert not {"startupProbe", "readinessProbe"} & sidecar.keys()
    assert sidecar["image"] == "beacon-prediction-log:1"
    assert "MLFLOW_TRACKING_PASSWORD" not in {each["name"] for each in sidecar["env"]}


def test_both_have_one_spool_on_the_pods_own_disk() -> None:
    spec, found = pod_of("default-values.yaml")
    (volume,) = [each for each in spec["volumes"] if each["name"] == "spool"]
    assert "emptyDir" in volume
    for name in ("inference", "prediction-log"):
        mounts = {mount["name"]: mount["mountPath"] for mount in found[name]["volumeMounts"]}
        assert variables(found[name])["BEACON_SPOOL"] == mounts["spool"]
        assert int(variables(found[name])["BEACON_SPOOL_MAX_BYTES"]) < 512 << 20
        assert "BEACON_SHARED_SPOOLS" not in variables(found[name])


def test_on_a_claim_each_pod_has_a_folder_and_ships_those_of_others() -> None:
    spec, found = pod_of("everything-values.yaml")
    (volume,) = [each for each in spec["volumes"] if each["name"] == "spool"]
    assert volume["persistentVolumeClaim"] == {"claimName": "beacon-spools"}
    for name in ("inference", "prediction-log"):
        names = [each["name"] for each in found[name]["env"]]
        assert names.index("POD_NAME") < names.index("BEACON_SPOOL"), "Kubernetes fills in what it has seen"
        assert variables(found[name])["BEACON_SPOOL"] == "/var/spool/beacon/$(POD_NAME)"
    assert variables(found["prediction-log"])["BEACON_SHARED_SPOOLS"] == "/var/spool/beacon"
    assert "BEACON_SHARED_SPOOLS" not in variables(found["inference"])


def test_fsync_is_inferences_and_off_unless_it_is_asked_for() -> None:
    for values, fsync in (("default-values.yaml", "never"), ("everything-values.yaml", "group")):
        _, found = pod_of(values)
        assert variables(found["inference"])["BEACON_SPOOL_FSYNC"] == fsync
        assert "BEACON_SPOOL_FSYNC" not in variables(found["prediction-log"])
