"""The pages of single predictions."""
