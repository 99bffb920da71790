"""Feature serving: Feast's wire contract over Feast's own stores, with freshness enforced and writes closed."""
