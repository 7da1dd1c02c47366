"""Anchors: where the chains ended each day, signed, and where that went."""

from __future__ import annotations

from flask import Blueprint, render_template, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from console import anchors, frame
from console.access import allow
from console.anchors import WAYS, Anchor, AnchorPublication, PublicationState, Way
from console.book import reading, settings
from console.lists import Column, Filter, listing
from console.pages.audit.audit import READERS
from console.programs import listed
from console.words import _, when, who_exactly
from quota import audit
from quota.db import Tx
from quota.errors import N_, NotFound

blueprint = Blueprint("anchors", __name__, url_prefix="/audit/anchors")
frame.page("audit", "anchors.index", N_("锚点"), order=30)

COLUMNS = [
    Column(
        "sequence",
        N_("编号"),
        lambda r: r.sequence,
        sort=Anchor.sequence,
        href=lambda r: url_for("anchors.show", sequence=r.sequence),
        title=True,
    ),
    Column("at", N_("时间"), lambda r: r.at, sort=Anchor.at),
    Column("fingerprint", N_("指纹"), lambda r: anchors.short(r.token)),
    Column("records", N_("审计记录"), lambda r: r.records, number=True),
    Column("sealings", N_("封存"), lambda r: r.sealings, number=True),
    Column("made_by", N_("发起人"), lambda r: r.made_by, text=who_exactly, minor=True),
]
FILTERS = [Filter("key", N_("密钥"), lambda q, v: q.where(Anchor.key_id == v))]


@blueprint.app_template_global()
def newest_anchor() -> str | None:
    """The newest anchor, as pages that people keep on paper print it: number and beginning of its fingerprint."""
    last = anchors.newest(reading())
    return _("%(n)s 号,指纹 %(short)s", n=last.sequence, short=anchors.short(last.token)) if last is not None else None


@blueprint.get("/")
@allow(*READERS)
@listed(COLUMNS, FILTERS)
def index() -> str | Response:
    tx = reading()
    found = listing(tx, select(Anchor), COLUMNS, key=Anchor.sequence, filters=FILTERS, sort="-sequence")
    return found.exported("anchors") or render_template(
        "anchors/index.html",
        anchors=found,
        newest=anchors.newest(tx),
        short=anchors.short,
        unpublished=anchors.unpublished(tx),
        alone=not (settings().anchor_folder.name or settings().anchor_mail or settings().anchor_webhook),
    )


@blueprint.get("/<int:sequence>")
@allow(*READERS)
def show(sequence: int) -> str:
    tx = reading()
    row = _anchor(tx, sequence)
    query = select(AnchorPublication).where(AnchorPublication.anchor == sequence).order_by(AnchorPublication.id)
    return render_template(
        "anchors/show.html",
        anchor=row,
        said=anchors.opened(row.token),
        short=anchors.short,
        thumbprint=anchors.thumbprint,
        places=[
            (
                _(WAYS[Way(one.way)]),
                one.target,
                _("已送达") if one.state == PublicationState.DONE.value else _("待送"),
                when(one.ended_at or one.next_try_at),
                one.said,
            )
            for one in tx.scalars(query)
        ],
        ended=audit.head(tx)[0],
    )


@blueprint.get("/<int:sequence>/file")
@allow(*READERS)
def file(sequence: int) -> Response:
    """The anchor itself, to be kept elsewhere."""
    row = _anchor(reading(), sequence)
    name = anchors.file_name(row.sequence)
    return Response(
        row.token + "\n", mimetype="application/jose", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _anchor(tx: Tx, sequence: int) -> Anchor:
    row = tx.get(Anchor, sequence)
    if row is None:
        raise NotFound("anchor.none", N_("没有编号为 %(id)s 的锚点"), id=sequence)
    return row
