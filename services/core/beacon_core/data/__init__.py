"""Queries of the store that more than one service asks: one home for each."""
