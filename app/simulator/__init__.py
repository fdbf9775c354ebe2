"""A simulated Monta: the Partner API with sites, vehicles and faults. An ASGI app."""
