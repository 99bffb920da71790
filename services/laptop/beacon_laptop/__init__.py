"""The whole product on one machine: `python -m beacon_laptop`."""
