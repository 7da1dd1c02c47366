"""OpenStack: servers, volumes and what comes with them, quotas and capacity, and usage from Gnocchi, through openstacksdk."""

from __future__ import annotations

from providers.adapters.openstack.cloud import OpenStackCloud

__all__ = ["OpenStackCloud"]
