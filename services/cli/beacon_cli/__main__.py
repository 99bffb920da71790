"""`python -m beacon_cli` is `beacon`."""

from beacon_cli.app import main

main()
