"""The console: pages for operations, under /console."""
