"""A prediction, stage by stage."""
