"""Writes orders.csv beside this file: 300 rows, the same ones each time."""

import csv
import random
from datetime import date, timedelta
from pathlib import Path

ROWS = 300
FILE = Path(__file__).with_name("orders.csv")
GRADES = ("low", "medium", "high", "top")
COLOURS = {"red": 4000.0, "green": 0.0, "blue": -3000.0}
COLUMNS = ("order_id", "area", "gross weight", "pieces", "insured", "grade", "colour", "supplier", "warranty")


def rows() -> list[list[object]]:
    """The header line and the rows; `warranty` is missing in about a tenth of them."""
    chance = random.Random(7)
    found: list[list[object]] = [[*COLUMNS, "made_on", "value"]]
    for number in range(1, ROWS + 1):
        area, weight = round(chance.uniform(40, 280), 1), round(chance.uniform(200, 1500), 1)
        pieces, insured = chance.randint(1, 40), chance.random() < 0.6
        grade, colour = chance.randrange(4), chance.choice(list(COLOURS))
        supplier, warranty = chance.randrange(1, 31), chance.choice([12, 24, 36, 48, 60])
        made = date(2020, 1, 1) + timedelta(days=chance.randrange(5 * 365))
        value = (
            90_000 + 600 * area + 40 * weight + 250 * pieces + 5000 * insured + 12_000 * grade + COLOURS[colour]
            + 400 * supplier + 150 * warranty + 2000 * (made.year - 2020) + chance.gauss(0, 4000)
        )  # fmt: skip
        found.append(
            [
                f"A-{number:04}", area, weight, pieces, str(insured).lower(), GRADES[grade], colour, f"S{supplier:02}",
                "" if chance.random() < 0.1 else warranty, made.isoformat(), round(value, 2),
            ]
        )  # fmt: skip
    return found


if __name__ == "__main__":
    with FILE.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows())
