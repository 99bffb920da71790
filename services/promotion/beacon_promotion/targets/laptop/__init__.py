"""A laptop's processes as a target."""
