"""Shared by all endpoints: authentication, problems, request bodies, card data, long polls, cursors."""
