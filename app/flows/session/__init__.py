"""Use cases of the watcher for one session: decide the next step, and make its call."""
