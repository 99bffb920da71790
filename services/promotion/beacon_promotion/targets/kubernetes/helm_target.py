"""The cluster as a target: inference's Helm release, changed by Helm alone.

A model is tried on pods of its own before the others change: dark ones without any user, then the chart's canary, first
in shadow beside the model in service, then answering a share of the requests.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from beacon_core.domain.pins import Pin
from beacon_core.model_package.release import Release
from beacon_core.platform import clock
from beacon_core.platform.kubernetes import Access
from beacon_core.platform.locks import BusyError
from beacon_core.platform.settings import ROOT, Settings
from beacon_promotion.targets.base.target import ReleaseFailedError
from beacon_promotion.targets.kubernetes.helm import Document, Helm, HelmError, Revision, documents
from beacon_promotion.targets.kubernetes.on_cluster import SHADOW_SHARE, OnCluster, annotated
from beacon_promotion.targets.kubernetes.pods import RELEASE, is_ready, release_of

CHART = ROOT / "charts" / "inference"
OUR_REVISION = "helm"
"""The key of the revision that Helm is about to make for us: a hanging one of that number is ours."""
FREE = {"Deployment", "ConfigMap"}
"""Kinds whose older form a rollback may bring back; the admission policies hold promotion to all others as they are."""
HANGING = timedelta(minutes=15)
"""A helm that somebody else started and that runs for longer has died."""
MAIN, CANARY = "-inference", "-inference-canary"
"""How the names of its Deployments end."""
NOT_PINNED = "set target: deployment in the values of promotion, or model.pinned: true in those of inference"


class HelmTarget(OnCluster):
    """Inference's release in one namespace, whose values pin the model."""

    releases_first = False

    def __init__(self, settings: Settings, access: Access, chart: Path = CHART) -> None:
        super().__init__(settings, access)
        self._helm = Helm(access, self._names.inference, chart)

    def recover(self) -> list[str]:
        """Undo an upgrade that hangs or failed, and remove what an earlier run tried a model on; one sentence each."""
        done = [f"removed the dark pod {name}" for name in self._mapped(self._pods.remove_dark)]
        history = self._history()
        if not history:
            return done
        newest, back = history[0], _last_clean(history)
        foreign = newest.pending and self.state.read(OUR_REVISION) != str(newest.number).encode()
        if foreign and clock.now() - newest.begun < HANGING:
            raise BusyError(f"somebody else's helm is at work on {self._names.inference} ({newest.status})")
        if back is None or newest == back:
            return done
        self._roll_back(back)
        left = "with a model on trial" if newest.status == "deployed" else newest.status
        return [*done, f"revision {newest.number} was left {left}: went back to revision {back.number}"]

    def serving(self) -> Release | None:
        """What is released now; None where nothing is."""
        deployed = next((revision for revision in self._history() if revision.status == "deployed"), None)
        return None if deployed is None else _release(deployed)

    def check(self, before: Pin | None, after: Pin) -> None:
        """Raise `ReleaseFailedError` unless a release of `after` changes the model alone, and leaves a way back."""
        history = self._history()
        base = _last_clean(history)
        if base is None or (before is not None and _release(base).model != before):
            now = "nothing" if base is None else f"version {_release(base).model.version}"
            raise ReleaseFailedError(
                "no_way_back", f"Helm's history of {self._names.inference} has {now} to roll back to"
            )
        self._check_way_back(before)
        try:
            rendered = self._helm.rendered(_values(base, after))
        except HelmError as error:
            raise ReleaseFailedError("other_changes", str(error)) from error
        changes = other_changes(documents(base.manifest), documents(rendered))
        if changes:
            listed = "; ".join(changes[:3])
            raise ReleaseFailedError("other_changes", f"this build's chart would change more than the model: {listed}")

    def shadow(self, pin: Pin | None) -> None:
        """Let a canary's pod answer with the model in service and ask `pin` in shadow; None removes the pod."""
        self._try(pin, shadow=True, share=SHADOW_SHARE)

    def canary(self, pin: Pin | None, share: float) -> None:
        """Let canary pods answer about `share` of the requests with `pin`; None removes them."""
        self._try(pin, shadow=False, share=share)

    def release(self, pin: Pin) -> None:
        """Let every pod serve `pin`; raises `ReleaseFailedError` when one does not."""
        base = self._clean()
        self._upgrade(_values(base, pin), pin, lambda release: release == Release(pin))

    def restore(self, pin: Pin) -> None:
        """Go back to the newest revision that served `pin` alone; raises `ReleaseFailedError`.

        Where a deployment has changed more than Deployments and ConfigMaps since, its configuration stays.
        """
        history = self._history()
        back = next((item for item in history if _is_clean(item) and _release(item).model == pin), None)
        if back is None:
            raise ReleaseFailedError("no_way_back", f"Helm keeps no revision that served version {pin.version}")
        base = _last_clean(history)
        if base is not None and changes_held(base, back):
            self.release(pin)
        elif history[0].number != back.number:
            self._roll_back(back)
        else:
            self._mapped(lambda: self._pods.wait_until_all(lambda release: release == Release(pin)))

    def _try(self, pin: Pin | None, *, shadow: bool, share: float) -> None:
        base = self._clean()
        model = _release(base).model
        if pin is None:
            self._upgrade(base.values, model, lambda release: release == Release(model))
            return
        main = sum(is_ready(pod) and release_of(pod) == Release(model) for pod in self._mapped(self._pods.all))
        replicas = max(1, round(main * share / (1 - share)))
        canary = {"version": pin.version, "sha256": pin.sha256, "shadow": shadow, "replicas": replicas}
        tried = Release(model, pin) if shadow else Release(pin)
        split = base.values.get("gateway", {}).get("enabled", False)
        # A gateway sends users to the canary only when its pods are ready.
        for weight in (0, round(100 * share) or 1) if split else (0,):
            values = base.values | {"canary": base.values.get("canary", {}) | canary | {"weight": weight}}
            self._upgrade(values, pin, lambda release: release in (Release(model), tried))

    def _upgrade(self, values: dict[str, Any], pin: Pin, wanted: Callable[[Release | None], bool]) -> None:
        self._changed(lambda: self._helm.upgrade(values, lambda: self._check(pin)), wanted)

    def _roll_back(self, back: Revision) -> None:
        release = _release(back)
        self._changed(
            lambda: self._helm.rollback(back.number, lambda: self._check(release.model)), lambda one: one == release
        )

    def _changed(self, change: Callable[[], None], wanted: Callable[[Release | None], bool]) -> None:
        self._hold()
        self.state.write(OUR_REVISION, str(self._history()[0].number + 1).encode())
        try:
            self._mapped(change)
        except HelmError as error:
            raise ReleaseFailedError("not_ready", str(error)) from error
        self._mapped(lambda: self._pods.wait_until_all(wanted))

    def _clean(self) -> Revision:
        found = _last_clean(self._history())
        if found is None:
            raise ReleaseFailedError(
                "no_way_back", f"{self._names.inference} is not installed; `make deploy` installs it"
            )
        return found

    def _history(self) -> list[Revision]:
        return self._mapped(self._helm.history)


def other_changes(before: dict[tuple[str, str], Document], after: dict[tuple[str, str], Document]) -> list[str]:
    """What differs between two renderings beside the model in service, one line per difference."""
    found = [f"{kind} {name} would be removed" for kind, name in before.keys() - after.keys()]
    found += [f"{kind} {name} would be added" for kind, name in after.keys() - before.keys()]
    for key in sorted(before.keys() & after.keys()):
        old, new = before[key], after[key]
        if key == _deployment(before, MAIN):
            for document in (old, new):
                document["spec"]["template"]["metadata"]["annotations"][RELEASE] = ""
        found += [f"{key[0]} {key[1]}: {path}" for path in _paths(old, new, "")]
    return sorted(found)


def changes_held(now: Revision, back: Revision) -> bool:
    """Whether to go back from one revision to another changes an object that promotion may not change."""
    changes = other_changes(documents(now.manifest), documents(back.manifest))
    return any(change.partition(" ")[0] not in FREE for change in changes)


def _paths(old: Any, new: Any, path: str) -> list[str]:
    """The paths at which two values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [found for key in keys for found in _paths(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for number, (one, other) in pairs for found in _paths(one, other, f"{path}[{number}]")]
    return [] if old == new else [path]


def _values(base: Revision, pin: Pin) -> dict[str, Any]:
    model = {"name": pin.name, "version": pin.version, "sha256": pin.sha256}
    return base.values | {"model": base.values.get("model", {}) | model}


def _release(revision: Revision) -> Release:
    """The model that a revision serves, and the one that its canary has in shadow."""
    rendered = documents(revision.manifest)
    main, canary_key = (_deployment(rendered, end) for end in (MAIN, CANARY))
    release = None if main is None else annotated(rendered[main])
    if main is None or release is None:
        name = "inference" if main is None else main[1]
        raise ReleaseFailedError("no_way_back", f"the values of {name} pin no model; {NOT_PINNED}")
    canary = None if canary_key is None else annotated(rendered[canary_key])
    return Release(release.model, release.shadow if canary is None else canary.shadow)


def _is_clean(revision: Revision) -> bool:
    """Whether it was in service with one model and nothing on trial."""
    served = revision.done and revision.status in {"deployed", "superseded"}
    return served and _deployment(documents(revision.manifest), CANARY) is None


def _deployment(rendered: dict[tuple[str, str], Document], end: str) -> tuple[str, str] | None:
    """The key of the Deployment whose name ends so."""
    return next((key for key in rendered if key[0] == "Deployment" and key[1].endswith(end)), None)


def _last_clean(history: list[Revision]) -> Revision | None:
    return next((revision for revision in history if _is_clean(revision)), None)
