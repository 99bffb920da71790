"""The pages of single features."""
