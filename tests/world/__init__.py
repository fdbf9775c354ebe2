"""The simulated world: the whole of Tapwatt, its trouble and its time, from one seed."""
