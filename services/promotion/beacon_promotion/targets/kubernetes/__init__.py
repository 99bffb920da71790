"""A cluster's release as a target."""
