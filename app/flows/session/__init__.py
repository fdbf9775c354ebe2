"""Use cases of the watcher for one session. Decide the next step, and make its call."""
