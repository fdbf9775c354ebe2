"""`python -m app` is `tapwatt`."""

from app.cli import main

main()
