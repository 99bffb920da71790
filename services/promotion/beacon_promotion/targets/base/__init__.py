"""What every target is."""
