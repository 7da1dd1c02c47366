"""Pages of requests: filing, deciding, rules, notices."""

from __future__ import annotations
