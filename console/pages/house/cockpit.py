"""驾驶舱: the city on one wall, 1080p to 4K, dark, without scrolling; it refreshes itself. By an address with a token of its own it
stands in the city's big screen without anybody logged in."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, Response, make_response, render_template
from flask_wtf import FlaskForm
from sqlalchemy import func, select
from werkzeug.wrappers import Response as Answer
from wtforms import SelectField
from wtforms.fields.choices import SelectChoice

from console import frame
from console.access import STEWARDS, allow, public
from console.answers import headers
from console.api import TokenKind, door
from console.book import actor, book, reading, settings, transaction
from console.forms import answer, done
from console.pages.house import wall_blocks
from console.programs import takes
from console.security import program
from console.words import _, lazy
from metering.cases import Case, CaseState
from metering.judging import Finding
from metering.overview import measured
from quota import ledger
from quota.actors import Role
from quota.db import Tx
from quota.directory import city
from quota.errors import N_, Invalid, NotAllowed
from quota.requests import OPEN, Request
from quota.units import VCPU

blueprint = Blueprint("cockpit", __name__)
frame.page("reports", "cockpit.index", N_("驾驶舱"), order=90)

HIDDEN = "0"


@blueprint.get("/cockpit")
@allow(*STEWARDS)
def index() -> str:
    return _wall(reading(), embedded=False)


@blueprint.get("/wall/<token>")
@public
@program
def wall(token: str) -> Response:
    """The same for a screen: the token is the address's own, opens nothing else, and shows what its person may see."""
    door.recognised(token, (TokenKind.WALL,))
    if actor().role not in STEWARDS:
        raise NotAllowed("wall.role", N_("此令牌的所有人无权查看驾驶舱"))
    answered = make_response(_wall(reading(), embedded=True))
    answered.headers["Content-Security-Policy"] = headers.policy(settings().wall_frames)
    answered.headers["Referrer-Policy"] = "no-referrer"  # the address is the key
    return answered


def _wall(tx: Tx, *, embedded: bool) -> str:
    now = book().clock()
    use, blocks = measured(tx), wall_blocks.drawn(tx)
    return render_template(
        "cockpit/index.html",
        embedded=embedded,
        blocks=blocks,
        cells=sum(one.columns * one.rows for one, _html in blocks),
        run=use.run,
        coverage=use.total(VCPU).coverage,
        mean=use.total(VCPU).mean,
        verdicts=_verdicts(tx, use.run.id) if use.run else {},
        requests=wall_blocks.count(tx, Request.id, Request.state.in_(OPEN)),
        overdue=wall_blocks.count(tx, Request.id, Request.state.in_(OPEN), Request.due_at < now),
        cases=wall_blocks.count(tx, Case.id, Case.state != CaseState.CLOSED.value),
        late=wall_blocks.count(tx, Case.id, Case.state != CaseState.CLOSED.value, Case.due_at < now),
        conserved=ledger.conserved(tx),
        changes=wall_blocks.count(tx, ledger.Transfer.id, ledger.Transfer.at >= now - timedelta(days=1)),
    )


def _verdicts(tx: Tx, run_id: int) -> dict[str, int]:
    rows = tx.execute(
        select(Finding.verdict, func.count()).where(Finding.assessment_id == run_id).group_by(Finding.verdict)
    )
    return {str(verdict): int(count) for verdict, count in rows}


class WallForm(FlaskForm):  # type: ignore[misc]
    """The place of each block; its fields are made of the blocks that there are."""


for _name, _block in wall_blocks.blocks().items():
    setattr(WallForm, _name, SelectField(lazy(_block.label), choices=[]))


@blueprint.route("/cockpit/blocks", methods=["GET", "POST"])
@allow(Role.AUTHORITY, Role.SUPERVISOR)
@takes(WallForm)
def arrange() -> str | Answer | tuple[str, int]:
    """Which blocks the wall shows, and in which order."""
    places = {one.name: str(at) for at, one in enumerate(wall_blocks.arranged(reading()), 1)}
    names = list(wall_blocks.blocks())
    form = WallForm(data={name: places.get(name, HIDDEN) for name in names})
    for name in names:
        form[name].choices = [
            SelectChoice(HIDDEN, _("不显示")),
            *(SelectChoice(str(at), _("第 %(n)s 位", n=at)) for at in range(1, len(names) + 1)),
        ]

    def act() -> Answer:
        chosen = [(int(form[name].data), name) for name in names if form[name].data != HIDDEN]
        if len({at for at, _name in chosen}) < len(chosen):
            twice = next(name for at, name in chosen if sum(at == other for other, _n in chosen) > 1)
            raise Invalid("wall.place_twice", N_("一个位置只能放一项"), field=twice)
        with transaction() as tx:
            city.arrange_wall(tx, [name for _at, name in sorted(chosen)])
        return done(_("已保存"), "cockpit.index")

    return answer(form, act, lambda: render_template("cockpit/arrange.html", form=form, names=names), Invalid)
