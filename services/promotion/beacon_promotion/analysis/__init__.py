"""What is measured of a phase of a promotion, and the judgement on it."""
