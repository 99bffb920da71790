"""What stands for a missing value in a table where product.yaml names no marks."""

TEXT_MARKS = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "<NA>", "?")
"""Among text."""
NUMBER_MARKS = (*TEXT_MARKS, "None", "none", "Null", "NAN", "na", "-", ".", "--", "#DIV/0!", "#NULL!")
"""Among numbers and times, which are none of these."""
