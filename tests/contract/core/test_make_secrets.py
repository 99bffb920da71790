"""The hook that makes Secrets, by the official client on an API over a real socket, with the one right that it has."""

from support.kube_api import Cluster, api

from beacon_core.commands.cluster_secrets import OWN, PAIR, make_missing, wanted
from beacon_core.commands.make_secrets import Api

RESOURCES = {"Secret": "secrets", "ConfigMap": "configmaps"}


def test_what_is_missing_is_made_and_nothing_is_read() -> None:
    cluster = Cluster()
    kept = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "beacon"}, "data": {"api-key": "bWluZQ=="}}
    cluster.put("secrets", kept)
    with api(cluster) as access:
        made = make_missing(Api(access))
        assert make_missing(Api(access)) == set()
    assert made == set(wanted()) - {("Secret", "beacon")}
    assert cluster.objects["secrets", "beacon"] == kept
    assert {name for _, name in cluster.objects} == {*OWN, PAIR[1][1]}
    # Creating is all that its role allows.
    assert {one.partition(" ")[0] for one in cluster.asked} == {"POST"}


def test_every_object_that_is_wanted_is_looked_for() -> None:
    cluster = Cluster()
    with api(cluster) as access:
        assert Api(access).there(wanted()) == set()
        for kind, name in wanted():
            cluster.put(RESOURCES[kind], {"kind": kind, "metadata": {"name": name}})
        assert Api(access).there(wanted()) == set(wanted())


def test_another_installation_has_objects_of_its_own() -> None:
    cluster = Cluster()
    with api(cluster) as access:
        make_missing(Api(access))
        made = make_missing(Api(access), "housing-beacon")
    assert made == set(wanted("housing-beacon"))
    assert all(name == "housing-beacon" or name.startswith("housing-beacon-") for _, name in made)
    labels = [cluster.objects[RESOURCES[kind], name]["metadata"]["labels"] for kind, name in made]
    assert {each["app.kubernetes.io/part-of"] for each in labels} == {"housing-beacon"}
    passwords = {str(each.get("stringData")) for each in cluster.objects.values() if "stringData" in each}
    assert len(passwords) == 2 * len(OWN)
