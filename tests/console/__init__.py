"""The console through the real app, as a browser uses it."""
