"""Use cases of the watcher for one session: decide what is next, and make that call."""
