"""Pages of monitoring: endpoints that are probed, alerts that were handed over, what alerts are about."""
