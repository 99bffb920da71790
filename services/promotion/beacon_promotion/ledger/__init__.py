"""The ledger: written first where it cannot be lost, and told."""
