"""Use cases, one a file; every transaction begins and ends here."""
