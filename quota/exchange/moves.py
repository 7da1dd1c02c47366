"""What of the exchange a reorganisation takes along: offers that stand or of which something waits, claims and conversions that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, select

from quota.directory import Adjustment, movers
from quota.errors import N_, WrongState
from quota.exchange.conversions import Conversion, ConversionState
from quota.exchange.market import OPEN_CLAIMS, ClaimState, OfferState, QuotaClaim, QuotaOffer

if TYPE_CHECKING:
    from quota.db import Tx


class Chosen(movers.Rows):
    """With a merger what waits, with a split what was chosen of it."""

    def free(self) -> ColumnElement[bool]:
        return cast("ColumnElement[bool]", self.model.state.in_(self.waiting))

    def called(self, row: Any) -> str:
        return str(row.id)


class StandingOffers(Chosen):
    """With a merger those that stand, and those that are over of which a part still waits for the authority."""

    def find(self, tx: Tx, step: movers.ReorganisationStep, found: movers.Parts) -> movers.Part:
        if step.kind is not Adjustment.MERGE:
            return super().find(tx, step, found)
        agreed = select(QuotaClaim.offer_id).where(QuotaClaim.state == ClaimState.AGREED.value)
        stands = (QuotaOffer.state == OfferState.OPEN.value) | QuotaOffer.id.in_(agreed)
        query = select(QuotaOffer.id, QuotaOffer.state).where(QuotaOffer.department_id == step.source_id, stands)
        return movers.pending((id_, state) for id_, state in tx.execute(query.order_by(QuotaOffer.id)))


class Claims(Chosen):
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
    StandingOffers("quota_offers", QuotaOffer, N_("未结束的挂牌"), noun=N_("挂牌"), waiting=[OfferState.OPEN.value]),
    order=115,
)
movers.register(Claims("quota_claims", QuotaClaim, N_("未办结的求借"), noun=N_("求借"), waiting=OPEN_CLAIMS), order=116)
movers.register(
    Chosen(
        "quota_conversions",
        Conversion,
        N_("未办结的架构换算"),
        noun=N_("架构换算"),
        waiting=[ConversionState.ASKED.value],
    ),
    order=117,
)
