"""What it costs to know a client by its key or token, as access_cost.py measures it in the environment of the tests."""

import subprocess

import msgspec

from harness.machine import ROOT, BenchError, say


class AccessCost(msgspec.Struct, frozen=True):
    """One way to know a client: microseconds a check, of a client not seen before, and what is promised."""

    what: str
    microseconds: float
    first: float | None
    most: float


def measure_access() -> tuple[AccessCost, ...]:
    """Measure keys and tokens; raises `BenchError`."""
    command = [ROOT / ".venv" / "bin" / "python", ROOT / "benchmarks" / "access_cost.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"access: {done.stderr.strip()[-500:]}")
    costs = msgspec.json.decode(done.stdout, type=tuple[AccessCost, ...])
    for cost in costs:
        say(f"  {cost.what}: {cost.microseconds:.1f} us (at most {cost.most:g})")
    return costs
