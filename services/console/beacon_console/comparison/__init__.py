"""The page that compares two models row by row."""
