"""The simulated Partner API over HTTP: requests, checks, routes and endpoints."""
