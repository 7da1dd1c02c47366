"""Pages of cases: from finding to certificate, notices, exemptions, safeguards, authorisations."""

from __future__ import annotations

from console.pages.cases import growth_evidence

__all__ = [
    "growth_evidence",
]
