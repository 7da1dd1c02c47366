"""What every answer is sent with: headers that bind the browser, and compressed where no secret could be guessed by it."""

from __future__ import annotations

from console.answers import compression, headers
from console.answers.tokens import MaskedCSRF

__all__ = ["MaskedCSRF", "compression", "headers"]
