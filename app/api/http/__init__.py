"""Shared by all endpoints: authentication, problems, bodies, card data, polls."""
