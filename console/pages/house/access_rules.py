"""The rules by which people come in (登录安全规则): shown to administrators and auditors, enacted by the security administrator."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import BooleanField, IntegerField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from console import frame
from console.access import allow, proven
from console.accounts import access_rules
from console.book import reading, transaction
from console.forms import answer, done
from console.pages.house import key_asking
from console.programs import unfit
from console.words import _, lazy
from quota.actors import HELD, ROLE_LABELS, Role
from quota.errors import N_, Invalid, NotAllowed, WrongState

blueprint = Blueprint("access_rules", __name__, url_prefix="/settings/access")
frame.page("settings", "access_rules.index", N_("登录安全规则"), order=12)


class _Fields(FlaskForm):  # type: ignore[misc]
    grace_days = IntegerField(
        lazy("宽限期"),
        [InputRequired(lazy("请填写天数"))],
        description=lazy("新要求两步验证的角色，在这段时间内仍可只用密码登录；0为立即"),
    )
    proof_minutes = IntegerField(
        lazy("重要操作前再次核验"),
        [InputRequired(lazy("请填写分钟数"))],
        description=lazy("授权、启用规则、停用和删除之前，距上次核验超过这么久的须再核验；0为不要求"),
    )
    password_days = IntegerField(
        lazy("密码有效期"), [InputRequired(lazy("请填写天数"))], description=lazy("到期后登录须先改密码；0为不限")
    )
    reason = StringField(lazy("理由"), [InputRequired(lazy("请写明理由")), Length(max=500)])


RulesForm: Any = type(
    "RulesForm",
    (_Fields,),
    {f"{name}_{role.value}": BooleanField(lazy(ROLE_LABELS[role])) for name in ("second", "key") for role in HELD}
    | {
        f"networks_{role.value}": TextAreaField(lazy(ROLE_LABELS[role]), [Length(max=4000)], description="")
        for role in HELD
    },
)
"""Two boxes and a list of networks for every role beside the figures."""


@blueprint.get("/")
@allow(Role.SYSADMIN, Role.SECADMIN, Role.AUDADMIN, Role.AUDITOR)
def index() -> str:
    tx = reading()
    return render_template(
        "access_rules/index.html", rules=access_rules.in_force(tx), history=access_rules.history(tx), roles=ROLE_LABELS
    )


@blueprint.route("/enact", methods=["GET", "POST"])
@allow(Role.SECADMIN)
@proven
@unfit("asked again: its person has to be there")
def enact() -> str | Response | tuple[str, int]:
    rules = access_rules.in_force(reading())
    form = RulesForm(
        data={name: getattr(rules, name) for name in access_rules.LIMITS}
        | {f"second_{role.value}": role.value in rules.second for role in HELD}
        | {f"key_{role.value}": role.value in rules.keys for role in HELD}
        | {f"networks_{role.value}": "\n".join(rules.networks.get(role.value, ())) for role in HELD}
    )

    def act() -> Response:
        keys = {role for role in HELD if form[f"key_{role.value}"].data}
        if keys and key_asking.site() is None:
            raise WrongState("factor.no_site", key_asking.elsewhere())
        with transaction() as tx:
            access_rules.enact(
                tx,
                second={role for role in HELD if form[f"second_{role.value}"].data},
                **{name: form[name].data for name in access_rules.LIMITS},
                allowed={
                    role: access_rules.networks(form[f"networks_{role.value}"].data or "", f"networks_{role.value}")
                    for role in HELD
                },
                reason=form.reason.data,
                keys=keys,
            )
        return done(_("规则已启用"), "access_rules.index")

    def page() -> str:
        return render_template("access_rules/enact.html", form=form, roles=[role.value for role in HELD])

    return answer(form, act, page, Invalid, NotAllowed, WrongState)
