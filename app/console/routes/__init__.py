"""The endpoints of the console, one module a page."""

from app.console.routes import live, session, sign_in, unknown

routers = (sign_in.router, live.router, session.router, unknown.router)
"""In the order in which addresses are matched: the last one takes what no other does."""
