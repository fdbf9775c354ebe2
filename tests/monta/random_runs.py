"""How Hypothesis runs in this folder: without a deadline, for the machine may be busy with other things."""

from hypothesis import HealthCheck, settings

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
