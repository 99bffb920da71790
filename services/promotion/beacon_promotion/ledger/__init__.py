"""The ledger: its writer with an outbox, and its formats for a terminal."""
