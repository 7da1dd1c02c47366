"""Pages of metering: the lake, the sources that push, and where they push to."""

from __future__ import annotations
