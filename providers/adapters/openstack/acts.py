"""What is sent to an OpenStack to change something: once and never by itself again, since Nova, Cinder and Neutron know no keys.
Answers that nothing was done are told apart: busy, over quota, never."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.adapters.openstack.session import CloudSession, said_of, wait_of
from providers.base import BUSY, NEVER, OVER_QUOTA, ProviderFault

_OVER = re.compile(
    r"\bquota\b.*\bexceed|\bexceed.*quota\b|\bover quota\b|\bquota has been met\b|\bis over (a )?limit\b",
    re.IGNORECASE | re.DOTALL,
)
"""How the services say that a project has no more: by quota sets (Nova, Cinder, Octavia), and by Keystone's limits, where none of them
says quota. Whom they forbid to set quotas they answer by the name of the policy, which says quota as well."""
_OVER_409 = re.compile(r"^Quota exceeded for resources\b", re.IGNORECASE)
"""How Neutron says it (OverQuota), with the status of a conflict."""


class CloudActs:
    """``session`` reads; what is made for a project is made by us in that project."""

    def __init__(self, session: CloudSession) -> None:
        self.session = session
        self._in: dict[str, CloudSession] = {}

    def act(
        self,
        service: str,
        method: str,
        path: str,
        body: object = None,
        *,
        microversion: str | None = None,
        project: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What a service answers ({} where it says nothing). ``project``: in which we do it (``id``, ``name``, ``domain``);
        None: in our own. Raises ProviderFault: with BUSY, OVER_QUOTA, NEVER, "rights" or "credentials" the service said that it
        did nothing; with any other code nobody knows."""
        session = self.session if project is None else self._within(project)
        answer = session.sent(service, method, path, body, microversion=microversion)
        status = answer.status_code
        if 200 <= status < 300:
            try:
                found = answer.json() if answer.content else {}
            except ValueError:
                found = {}
            return found if isinstance(found, dict) else {}
        words = said_of(answer)
        said = f"{service} {method} {path}: {status} {words}"
        over = _OVER_409 if status == 409 else _OVER
        if status in (403, 409, 413) and over.search(words):
            raise ProviderFault(said, transient=False, code=OVER_QUOTA)
        if status in (409, 413, 429, 503):
            raise ProviderFault(said, transient=True, code=BUSY, wait_s=wait_of(answer))
        if status in (401, 403):
            raise ProviderFault(said, transient=False, code="credentials" if status == 401 else "rights")
        if status >= 500:
            raise ProviderFault(said, transient=True, code="server")
        raise ProviderFault(said, transient=False, code=NEVER)

    def _within(self, project: Mapping[str, Any]) -> CloudSession:
        """Ourselves in another project; who is there by an application credential is in its own alone."""
        id_ = str(project["id"])
        if id_ not in self._in:
            who = self.session.who
            if who.credential_id:
                raise ProviderFault(
                    "an application credential acts in its own project only", transient=False, code="rights"
                )
            self._in[id_] = self.session.as_who(
                replace(who, project=str(project["name"]), project_domain=str(project["domain"]))
            )
        return self._in[id_]
