"""JSON objects as Monta's reference describes them."""
