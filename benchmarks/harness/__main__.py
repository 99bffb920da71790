"""`make bench`, or `python -m harness [--quick] [--only NAME ...]` from benchmarks/."""

import argparse
import signal
import sys
import time
from types import FrameType

from harness.machine import BenchError, prepare, say
from harness.measure import FULL, QUICK, measure
from harness.model import make_model
from harness.servers import SERVERS


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: under 4 minutes, not for publishing")
    parser.add_argument("--only", action="append", choices=[*SERVERS], metavar="NAME", help=", ".join(SERVERS))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    began = time.monotonic()
    try:
        prepare()
        model = make_model()
        plan = QUICK if options.quick else FULL
        for name in options.only or SERVERS:
            say(name)
            measured = measure(SERVERS[name](model), model, plan)
            say(f"  {measured.memory} {measured.environment_mb} {measured.versions}")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    say(f"{time.monotonic() - began:.0f} s")
    return 0


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
