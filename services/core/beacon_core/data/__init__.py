"""Queries of the store that more than one service uses: one home for each."""
