"""The routes beside the prediction protocols."""
