"""Use cases of the console: signing in, and what its pages show beside the lists of the API."""
