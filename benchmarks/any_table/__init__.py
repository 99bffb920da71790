"""What any table costs: from `beacon new` to its requests."""
