"""Models of answers, which describe them in OpenAPI. Only the HTTP service and a few commands load them."""
