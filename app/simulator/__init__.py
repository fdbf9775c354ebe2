"""A simulated Monta: the Partner API as an ASGI app, with charge points, vehicles and faults."""
