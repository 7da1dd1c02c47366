"""What every adapter must keep, as tests that its author runs from outside: subclass a suite, say how your adapter is opened,
and let pytest find it (docs/dev/adapter.md).

    from providers.adapters.conformance import CloudSuite

    class TestMyCloud(CloudSuite):
        adapter = MyCloud

        def options(self, folder):
            return {"url": "http://127.0.0.1:8774"}

pytest is needed, and nothing else of the house is touched: no book, no lake, no console.
"""

from __future__ import annotations

from providers.adapters.conformance.clouds import CloudSuite
from providers.adapters.conformance.meters import MeterSuite
from providers.adapters.conformance.opening import OpeningSuite

__all__ = [
    "CloudSuite",
    "MeterSuite",
    "OpeningSuite",
]
