"""Resources by what people know them apart by: many a machine is called as another is."""

from __future__ import annotations

from console.words.texts import _
from quota.inventory import Resource


def identified(resource: Resource) -> str:
    """A resource's name with its id on the cloud and its address, wherever somebody decides about it or is asked."""
    marks = [
        resource.external_id if resource.name and resource.name != resource.external_id else "",
        resource.address or "",
    ]
    told = " · ".join(mark for mark in marks if mark)
    return _("%(name)s（%(more)s）", name=resource.called, more=told) if told else resource.called
