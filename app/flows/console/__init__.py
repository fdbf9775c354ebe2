"""Use cases of the console: signing in, and its pages' data. Beside the lists of the API."""
