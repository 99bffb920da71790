"""Where a value lies in a distribution."""

from beacon_console.distributions import bin_of, bins_of
from beacon_core.data.drift_results import ColumnDistribution


def test_a_value_has_its_place_in_the_bins() -> None:
    numbers = ColumnDistribution(
        ("below 1", "1 to 2", "2 to 3", "above 3"), (0.0, 0.5, 0.5, 0.0), (0, 1, 0, 0), (1, 2, 3)
    )
    assert [bin_of(numbers, value) for value in (0.5, 1, 1.9, 2, 3, 3.1, None, "x")] == [0, 1, 1, 2, 2, 3, None, None]
    assert [each.label for each in bins_of(numbers)] == ["1 to 2", "2 to 3"], "nothing was ever outside"
    assert [each.label for each in bins_of(numbers, 9) if each.here] == ["above 3"]
    one = ColumnDistribution(("below 4", "4", "above 4"), (0, 1, 0), (0, 1, 0), (4.0,))
    assert [bin_of(one, value) for value in (3, 4, 5)] == [0, 1, 1]
    levels = ColumnDistribution(("false", "true", "unseen"), (0.5, 0.5, 0.0), (0.5, 0.5, 0.0))
    assert [bin_of(levels, value) for value in (False, True, "other")] == [0, 1, None]
