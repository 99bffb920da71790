"""The stages of a run, in one process or by DVC."""
