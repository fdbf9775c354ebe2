"""Use cases of the watcher for one operator: sync, sweep, reconcile, check credentials and captures."""
