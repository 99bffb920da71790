"""Two tables: goods (text, flags, a large target, a text key) and weather (dates, a target of both signs).

They are drawn from fixed seeds, written as people's programs write them, and small.
"""

import csv
import math
import random
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

GOODS, DAYS = 500, 900
FIRST_DAY = date(2022, 1, 1)
GRADES = {"plain": 0.8, "fine": 1.0, "very fine": 1.3, "best": 1.7}
COLOURS = {"red": 0.95, "green": 1.0, "blue": 1.1}
MAKERS = 70


class Table(NamedTuple):
    """A table, and what a person says of it to `beacon new`."""

    name: str
    target: str
    options: tuple[str, ...]
    header: tuple[str, ...]
    rows: Sequence[Sequence[Any]]

    def write(self, folder: Path) -> Path:
        """Write it as CSV."""
        file = folder / f"{self.name}.csv"
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(self.header)
            writer.writerows(self.rows)
        return file


def goods() -> Table:
    """Prices of lots: an index column as R writes it, a key of text, levels, yes and no, gaps, a target to 300,000."""
    draw = random.Random(20)
    rows = []
    for number in range(GOODS):
        grade, colour = draw.choice(list(GRADES)), draw.choice(list(COLOURS))
        maker, insured = draw.randrange(MAKERS), draw.random() < 0.4
        area, pieces = round(draw.lognormvariate(4, 0.4), 1), draw.randrange(1, 9)
        price = 900 * area * GRADES[grade] * COLOURS[colour] * (1 + maker / MAKERS / 2) * draw.gauss(1, 0.05)
        price += 8000 * pieces + 5000 * insured
        gap = draw.random() < 0.05
        yes = "yes" if insured else "no"
        key = f"L-{number:04d}"
        rows.append(
            [number + 1, key, "" if gap else area, pieces, grade, colour, f"maker {maker:02d}", yes, round(price)]
        )
    header = ("", "lot", "area_m2", "pieces", "grade", "colour", "maker", "insured", "price_eur")
    return Table("goods", "price_eur", ("--key", "lot"), header, rows)


def weather() -> Table:
    """The frost of a day: dates with slashes, text, and a target of both signs that follows the season."""
    draw = random.Random(21)
    rows = []
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        season = -math.cos(2 * math.pi * (day.timetuple().tm_yday - 15) / 365)
        sky = draw.choice(["clear", "clouds", "rain", "snow"] if season < -0.3 else ["clear", "clouds", "rain"])
        wind, rain = (
            round(abs(draw.gauss(3, 1.5)), 1),
            round(draw.expovariate(0.3), 1) if sky in {"rain", "snow"} else 0,
        )
        night = round(4 + 11 * season + draw.gauss(0, 2), 1)
        highest = night + 6 + (3 if sky == "clear" else 0) - 0.4 * wind - 8 * (sky == "snow") + draw.gauss(0, 1)
        rows.append([day.strftime("%Y/%m/%d"), rain, night, wind, sky, round(highest, 1)])
    header = ("date", "rain (mm)", "night (degC)", "wind", "sky", "temp")
    return Table("weather", "temp", ("--key", "date", "--time", "date"), header, rows)


TABLES = (goods(), weather())
