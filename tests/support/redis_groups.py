"""Redis servers that belong together: a Redis Cluster of masters, and a master with a replica that Sentinels watch."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis import Redis as Client
from support.features import Process, Redis, redis_server
from support.ports import free_ports
from support.waiting import until

SLOTS = 16384
MASTER = "features"
PASSWORD = "of,redis"


@contextlib.contextmanager
def redis_cluster(folder: Path, count: int = 3) -> Iterator[dict[int, Redis]]:
    """A cluster of so many masters, each with its share of the slots, by their ports."""
    ports = free_ports(2 * count)
    clients, buses = ports[:count], ports[count:]
    with contextlib.ExitStack() as stack:
        servers = {}
        for port, bus in zip(clients, buses, strict=True):
            own = folder / str(port)
            own.mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "2000")
            servers[port] = stack.enter_context(Redis(own, port, *options))
        asked: list[Any] = [stack.enter_context(Client(port=port)) for port in clients]
        for number, client in enumerate(asked):
            first, last = number * SLOTS // count, (number + 1) * SLOTS // count - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER MEET", "127.0.0.1", clients[0], buses[0])
        until(lambda: all(_knows_all(client, count) for client in asked), "the nodes know each other")
        yield servers


def _knows_all(client: Any, count: int) -> bool:
    told = client.execute_command("CLUSTER INFO")
    text = told if isinstance(told, dict) else dict(line.split(":") for line in told.decode().split())
    return text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == count


class Watched:
    """A master and its replica, and the ports of the Sentinels."""

    def __init__(self, master: Redis, replica: Redis, ports: tuple[int, int], sentinels: list[int]) -> None:
        self.master, self.replica, self.ports, self.sentinels = master, replica, ports, sentinels


@contextlib.contextmanager
def watched_redis(folder: Path, count: int = 3) -> Iterator[Watched]:
    """A master with a replica, both with PASSWORD, and so many Sentinels, who agree within a second or two."""
    first, second, *sentinels = free_ports(2 + count)
    login = ("--requirepass", PASSWORD, "--masterauth", PASSWORD)
    with contextlib.ExitStack() as stack:
        for port in (first, second, *sentinels):
            (folder / str(port)).mkdir()
        master = stack.enter_context(Redis(folder / str(first), first, *login))
        follows = ("--replicaof", f"127.0.0.1 {first}", "--repl-diskless-sync-delay", "0")
        replica = stack.enter_context(Redis(folder / str(second), second, *login, *follows))
        for port in sentinels:
            stack.enter_context(_sentinel(folder / str(port), port, first))
        with Client(port=second, password=PASSWORD) as client:
            until(lambda: client.info("replication")["master_link_status"] == "up", "the replica follows")
        asked = [stack.enter_context(Client(port=port)) for port in sentinels]
        until(lambda: all(_sees_all(client, count) for client in asked), "the Sentinels know each other", 60)
        yield Watched(master, replica, (first, second), sentinels)


def _sentinel(folder: Path, port: int, master: int) -> Process:
    file = folder / "sentinel.conf"
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"sentinel monitor {MASTER} 127.0.0.1 {master} 2",
        f'sentinel auth-pass {MASTER} "{PASSWORD}"',
        f"sentinel down-after-milliseconds {MASTER} 1000",
        f"sentinel failover-timeout {MASTER} 5000",
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Process([redis_server(), str(file), "--sentinel"], folder)


def _sees_all(client: Any, count: int) -> bool:
    try:
        state = client.sentinel_master(MASTER)
    except OSError:
        return False
    return int(state["num-other-sentinels"]) == count - 1 and int(state["num-slaves"]) == 1
