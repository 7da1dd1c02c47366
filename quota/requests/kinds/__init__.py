"""Request kinds: a file each. A file that lies here is found; it need not be named anywhere else.

Named here are those that other rooms ask for themselves: a case for a resize, an answer to an inquiry for what the department wants, the demo for what its departments do."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from quota.requests.kinds.adopt import ADOPT
from quota.requests.kinds.commitment import COMMITMENT
from quota.requests.kinds.create import CREATE
from quota.requests.kinds.extend import EXTEND
from quota.requests.kinds.quota import QUOTA
from quota.requests.kinds.resize import RESIZE
from quota.requests.kinds.shutdown import SHUTDOWN
from quota.requests.kinds.surrender import SURRENDER
from quota.requests.kinds.temporary import TEMPORARY
from quota.requests.kinds.unsubscribe import UNSUBSCRIBE

__all__ = [
    "ADOPT",
    "COMMITMENT",
    "CREATE",
    "EXTEND",
    "QUOTA",
    "RESIZE",
    "SHUTDOWN",
    "SURRENDER",
    "TEMPORARY",
    "UNSUBSCRIBE",
]

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")
