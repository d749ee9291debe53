"""What tests of all levels share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A property is true or false however busy the machine is: no example is failed for its time.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")
