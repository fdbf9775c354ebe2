"""Runs the limit's figures: `python -m bench.limit`."""

from bench.limit.figures import main

main()
