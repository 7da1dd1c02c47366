"""What of the exchange a reorganisation takes along: offers that stand, claims and conversions that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from quota.directory import Adjustment, movers
from quota.errors import N_, WrongState
from quota.exchange.conversions import Conversion, ConversionState
from quota.exchange.market import OPEN_CLAIMS, OfferState, QuotaClaim, QuotaOffer

if TYPE_CHECKING:
    from quota.db import Tx


class Claims(movers.Rows):
    """With a merger those that wait; none may wait between the two, since nobody lends to itself."""

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        if step.kind is Adjustment.MERGE:
            both = (step.source_id, step.target_id)
            between = (
                select(QuotaClaim.id)
                .join(QuotaOffer, QuotaOffer.id == QuotaClaim.offer_id)
                .where(
                    QuotaClaim.state.in_(OPEN_CLAIMS),
                    QuotaClaim.department_id.in_(both),
                    QuotaOffer.department_id.in_(both),
                )
            )
            if tx.scalar(between.limit(1)) is not None:
                raise WrongState("reorganisation.claim", N_("两单位之间还有未办结的求借，请先答复或撤回"))
        return super().find(tx, step, found)


movers.register(
    movers.Rows("quota_offers", QuotaOffer, N_("未结束的挂牌"), noun=N_("挂牌"), waiting=[OfferState.OPEN.value]),
    order=115,
)
movers.register(Claims("quota_claims", QuotaClaim, N_("未办结的求借"), noun=N_("求借"), waiting=OPEN_CLAIMS), order=116)
movers.register(
    movers.Rows(
        "quota_conversions",
        Conversion,
        N_("未办结的架构换算"),
        noun=N_("架构换算"),
        waiting=[ConversionState.ASKED.value],
    ),
    order=117,
)
