"""Explanations of predictions, by a process of their own."""
