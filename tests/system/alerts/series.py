"""What each rule's expression gives, to the number and the label.

Counters rise by known amounts, at several instances of which one restarts. Beside them stands what must not count, and
figures lie above their limit, below it, and on the very spot. A window holds five samples, and the look is a second
after the last one: there a rise counts 5 / 4 times, in every version of Prometheus and without a rounding.
"""

from collections.abc import Mapping
from typing import NamedTuple

Series = dict[str, str]
Expected = dict[str, float]

END, SAMPLES = 70, 5
BASE, OUTSIDE = 1_000_000, 777
MINUTE, HOUR, DAY = 60, 3600, 86400
PREDICTIONS = ("/v1/predict", "/v1/predict/batch", "/v2/models/m/infer", "/invocations")
ENDPOINTS = (*PREDICTIONS, "/readyz", "/v1/actuals")


class Value(NamedTuple):
    """What the expression of a rule (of an alert: with this label) gives of series with a sample every `tick` seconds.

    `expected` is a number for each set of labels. A window that the rule looks back on is to be five ticks long.
    """

    rule: str
    series: Series
    expected: Expected
    tick: int = MINUTE
    label: str = ""


def seconds(window: str) -> int:
    """How long a window is: "2m", "1h" or "3d"."""
    return int(window[:-1]) * {"m": MINUTE, "h": HOUR, "d": DAY}[window[-1]]


def now(tick: int) -> int:
    """The second that is looked at."""
    return END * tick + 1


def counter(jumps: Mapping[int, float], *, restarts: bool = False) -> str:
    """A counter that jumps after the sample so many ago; it may restart from nothing at the last of the jumps."""
    values = [float(BASE)]
    for ago in range(END, 0, -1):
        gone = restarts and ago == min(jumps)
        values.append((0 if gone else values[-1]) + jumps.get(ago, 0))
    return " ".join(f"{value:.12g}" for value in values)


def rose(name: str, *amounts: float) -> Series:
    """A counter that rose in the window: by these amounts at instances of which the last of several restarts.

    All of the rise lies at the window's far edge, and another one just outside of it.
    """
    many = len(amounts) > 1
    return {
        of(name, instance=f"i{place}"): counter(
            {SAMPLES: OUTSIDE, SAMPLES - 1: 0.8 * amount}, restarts=many and place == len(amounts) - 1
        )
        for place, amount in enumerate(amounts)
    }


def gauge(name: str, *values: float) -> Series:
    """A gauge that stays as it is, at an instance for each value."""
    return {of(name, instance=f"i{place}"): f"{value:.17g}x{END}" for place, value in enumerate(values)}


def limit(name: str, value: float) -> Series:
    """A limit as two instances tell it, one of them still a lower one; and one of another name."""
    return gauge(f'beacon_threshold{{name="{name}"}}', value, 0.8 * value) | gauge('beacon_threshold{name="else"}', 2e9)


def recorded(name: str, value: float) -> Series:
    """A series that another rule records."""
    return {name: f"{value:.17g}x{END}"}


def of(name: str, **labels: str) -> str:
    """The name of a series with more labels."""
    bare, _, inner = name.rstrip("}").partition("{")
    whole = [*filter(None, [inner]), *(f'{key}="{value}"' for key, value in labels.items())]
    return f"{bare}{{{','.join(whole)}}}"
