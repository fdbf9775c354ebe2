"""Sends alerts to operations and events to terminal makers. By signed webhook, alerts by e-mail too."""
