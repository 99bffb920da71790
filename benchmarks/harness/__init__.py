"""`make bench`: Beacon, its peers and its floor, the same model, one core each for server and load."""
