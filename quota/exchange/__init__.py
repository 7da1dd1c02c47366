"""The exchange: what is unused goes to where it is needed. ``market``: departments offer idle quota and ask for what others offer;
``conversions``: quota of one architecture for quota of another, of equal worth; ``rules``: who sees what, and what is worth how
much, as the authority enacted it. What follows is a loan, a move or a transfer of the ledger as any other."""

from __future__ import annotations

from quota.exchange import conversions, market, rules
from quota.exchange import moves as _moves  # noqa: F401 - what of the exchange a reorganisation moves, registered
from quota.exchange.conversions import Conversion, ConversionState
from quota.exchange.market import ClaimState, OfferState, OfferWay, QuotaClaim, QuotaOffer
from quota.exchange.rules import ExchangeRule
from quota.exchange.terms import (
    LONGEST_DAYS,
    MOST_CREDIT,
    MOST_WEIGHT,
    ConversionTerms,
    ExchangeSubject,
    MarketScope,
    MarketTerms,
    Worth,
)

__all__ = [
    "LONGEST_DAYS",
    "MOST_CREDIT",
    "MOST_WEIGHT",
    "ClaimState",
    "Conversion",
    "ConversionState",
    "ConversionTerms",
    "ExchangeRule",
    "ExchangeSubject",
    "MarketScope",
    "MarketTerms",
    "OfferState",
    "OfferWay",
    "QuotaClaim",
    "QuotaOffer",
    "Worth",
    "conversions",
    "market",
    "rules",
]
