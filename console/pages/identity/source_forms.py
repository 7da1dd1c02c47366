"""Forms of identity sources: the connection that a kind declares, and the rules of what claims mean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from flask_wtf import FlaskForm
from sqlalchemy import select
from wtforms import (
    BooleanField,
    FieldList,
    FormField,
    HiddenField,
    IntegerField,
    PasswordField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, NumberRange, Optional
from wtforms.widgets import CheckboxInput, ListWidget

from console.book import settings
from console.forms import InnerForm
from console.identity import ANEW_MINUTES, LOST, MOST_ROLES, TOKEN_DAYS, Rules, kinds
from console.words import _, lazy
from providers.options import OptionField, OptionShape, fields
from quota import vault
from quota.actors import HELD, ROLE_LABELS
from quota.db import Tx
from quota.directory import CloudProvider
from quota.errors import N_, Invalid

OPTION = "option_"
NEW = "-new"
"""What so ends is told to nobody (console.errors)."""
LONGEST_CLAIMS = 20_000


class IdentitySourceForm(FlaskForm):  # type: ignore[misc]
    name = StringField(
        lazy(N_("名称")),
        [InputRequired(lazy(N_("请填写名称"))), Length(max=64)],
        description=lazy(N_("登录页的按钮上这样写，如“市OA”")),
    )


class NewSourceForm(IdentitySourceForm):
    code = StringField(
        lazy(N_("编码")),
        [InputRequired(lazy(N_("请填写编码"))), Length(max=32)],
        description=lazy(N_("小写字母、数字和 -；写在回调地址里，登记后不变")),
    )


class ChangedSourceForm(IdentitySourceForm):
    active = BooleanField(lazy(N_("启用")), description=lazy(N_("停用后登录页不再显示，规则也不再要求谁从这里登录")))
    generation = HiddenField()


class ReasonForm(FlaskForm):  # type: ignore[misc]
    reason = TextAreaField(lazy(N_("理由")), [InputRequired(lazy(N_("请写明理由"))), Length(max=500)])


@cache
def with_options(base: type[FlaskForm], kind: str) -> Any:
    """``base`` with a field for each option of the kind, and beside a secret's reference one for the secret itself."""
    made: dict[str, Any] = {}
    for one in fields(kinds.kind(kind).options):
        made[OPTION + one.name] = _field(one)
        if one.shape is OptionShape.SECRET:
            made[OPTION + one.name + NEW] = PasswordField(
                lazy(N_("%(label)s：新的值"), label=lazy(one.label)),
                [Optional(), Length(max=vault.LONGEST)],
                description=lazy(N_("填写后加密保存在账本中，此后只显示名称；也可以只在上面写明它在哪里")),
            )
    return type(f"{base.__name__}Of{kind.title()}", (base,), made)


def _field(field: OptionField) -> Any:
    hint = lazy(field.hint) if field.hint else ""
    if field.shape is OptionShape.SECRET:
        hint = hint or lazy(N_("file:/路径、env:<变量名>或 store:<名称>"))
    needed = InputRequired(lazy(N_("请填写%(label)s"), label=lazy(field.label))) if field.required else Optional()
    return StringField(lazy(field.label), [needed, Length(max=500)], default=field.default, description=hint)


def given(form: FlaskForm, kind: str) -> dict[str, Any]:
    """What the form says of the connection; a secret that was typed is named ``store:``, before it is kept."""
    found: dict[str, Any] = {}
    for one in fields(kinds.kind(kind).options):
        value = (form[OPTION + one.name].data or "").strip()
        if one.shape is OptionShape.SECRET and form[OPTION + one.name + NEW].data:
            value = f"store:{one.name}"
        if value:
            found[one.name] = value
    return found


def kept_secrets(tx: Tx, form: FlaskForm, kind: str, code: str) -> dict[str, str]:
    """Put what was typed as a secret into the encrypted store: option → reference."""
    found = {}
    for one in fields(kinds.kind(kind).options):
        if one.shape is OptionShape.SECRET and (typed := form[OPTION + one.name + NEW].data):
            try:
                found[one.name] = vault.keep(tx, f"identity.{code}.{one.name}", typed, settings().secrets_key)
            except Invalid as refused:
                refused.params["field"] = OPTION + one.name + NEW
                raise
    return found


def fill(form: FlaskForm, kind: str, options: Mapping[str, Any]) -> None:
    for one in fields(kinds.kind(kind).options):
        form[OPTION + one.name].data = str(options.get(one.name) or one.default or "")


def _roles() -> list[SelectChoice]:
    return [SelectChoice("", "—"), *(SelectChoice(one.value, lazy(ROLE_LABELS[one])) for one in HELD)]


class RoleRuleForm(InnerForm):
    """One line; one without a claim says nothing."""

    claim = StringField(lazy(N_("声明")), [Length(max=100)])
    value = StringField(lazy(N_("值")), [Length(max=200)])
    role = SelectField(lazy(N_("角色")), choices=_roles)
    company = StringField(lazy(N_("公司编码")), [Length(max=32)])


class RulesForm(FlaskForm):  # type: ignore[misc]
    login = StringField(
        lazy(N_("登录名取自哪个声明")),
        [InputRequired(lazy(N_("请填写声明的名称"))), Length(max=100)],
        default="preferred_username",
        description=lazy(N_("如 preferred_username 或工号的声明；邮箱不能作登录名")),
    )
    name = StringField(lazy(N_("姓名取自哪个声明")), [Optional(), Length(max=100)], default="name")
    department = StringField(
        lazy(N_("单位编码取自哪个声明")),
        [Optional(), Length(max=100)],
        description=lazy(N_("其值须与本系统的单位编码相同")),
    )
    link = BooleanField(
        lazy(N_("首次登录时，登录名相同的已有账号自动关联")),
        description=lazy(N_("仅当身份源中的登录名由管理员分配、本人不能改时才选；应急账号从不自动关联")),
    )
    create = BooleanField(
        lazy(N_("没有账号的人首次登录时自动建账号")), description=lazy(N_("新账号没有任何权限，须由安全管理员授权"))
    )
    roles = FieldList(FormField(RoleRuleForm), min_entries=1, max_entries=MOST_ROLES)
    lost = SelectField(
        lazy(N_("规则不再允许其现有权限时")), choices=[SelectChoice(code, lazy(label)) for code, label in LOST.items()]
    )
    required = SelectMultipleField(
        lazy(N_("只能从身份源登录的角色")), [Optional()], choices=_roles()[1:], widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(), description=lazy(N_("应急账号除外；都不选，则密码与身份源都可以")),
    )  # fmt: skip
    second = TextAreaField(
        lazy(N_("哪些声明说明身份源已做过两步验证")), [Optional(), Length(max=4000)],
        description=lazy(N_("每行一个，如 amr=otp、amr=hwk 或 acr=urn:example:loa:3；满足一个，这里就不再要求第二步。只写确知其含义的")),
    )  # fmt: skip
    anew = IntegerField(
        lazy(N_("登录后多少分钟再向身份源核实")), [Optional(), NumberRange(0, ANEW_MINUTES[1])], default=0,
        description=lazy(N_("0 为不核实，否则 10 至 1440；核实不打扰本人，身份源不再认其登录的即退出")),
    )  # fmt: skip
    tokens = IntegerField(
        lazy(N_("多少天没有从这里登录，个人令牌暂停使用")), [Optional(), NumberRange(0, TOKEN_DAYS)], default=0,
        description=lazy(N_("0 为不暂停，至多 365；本人从这里登录一次即恢复")),
    )  # fmt: skip
    reason = TextAreaField(lazy(N_("制定依据")), [InputRequired(lazy(N_("请写明制定依据"))), Length(max=2000)])
    claims = TextAreaField(
        lazy(N_("试算：某人的声明")), [Optional(), Length(max=LONGEST_CLAIMS)],
        description=lazy(N_('JSON，如 {"sub": "1", "preferred_username": "wang.fang", "groups": ["staff"]}；只用来试算，不保存')),
    )  # fmt: skip

    def content(self) -> dict[str, Any]:
        """The rule that the form says, as ``console.identity.rules`` reads it."""
        lines = [
            one.form for one in self.roles if (one.form.claim.data or "").strip() or (one.form.value.data or "").strip()
        ]
        return {
            "login": self.login.data, "name": self.name.data or "name", "department": self.department.data or "",
            "link": self.link.data, "create": self.create.data, "lost": self.lost.data,
            "required": list(self.required.data or []),
            "second": [_pair(one) for one in (self.second.data or "").splitlines() if one.strip()],
            "anew": self.anew.data or 0, "tokens": self.tokens.data or 0,
            "roles": [{"claim": one.claim.data, "value": one.value.data, "role": one.role.data,
                       "company": one.company.data or ""} for one in lines],
        }  # fmt: skip

    def tried(self) -> dict[str, Any] | None:
        """The claims to be tried; None: none. Raises Invalid for what is no JSON object."""
        if not (self.claims.data or "").strip():
            return None
        try:
            found = json.loads(self.claims.data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Invalid("identity.claims", N_("试算的声明须为一个 JSON 对象"), field="claims")
        return found

    def grow(self) -> None:
        """One more line, where there may be one."""
        if len(self.roles) < MOST_ROLES:
            self.roles.append_entry()


def filled(rules: Rules | None, kind: kinds.SourceKind) -> dict[str, Any]:
    """What the form of the next version shows at first."""
    if rules is None:
        return {"login": kind.login, "name": kind.name}
    told = rules.to_json()
    lines = "\n".join(f"{one['claim']}={one['value']}" for one in told["second"])
    return {**told, "roles": [{"company": "", **one} for one in told["roles"]] or [{}], "second": lines}


def _pair(line: str) -> dict[str, str]:
    """A claim and its value as they were typed: the claim has no sign of equality in it, the value may."""
    claim, _is, value = line.partition("=")
    return {"claim": claim.strip(), "value": value.strip()}


def companies(tx: Tx) -> list[tuple[str, str]]:
    """(code, name) of the companies that a line may name."""
    rows = tx.execute(
        select(CloudProvider.code, CloudProvider.name).where(CloudProvider.active).order_by(CloudProvider.code)
    )
    return [(code, name) for code, name in rows]


def place(told: Mapping[str, str]) -> str:
    """A right in words."""
    where = told.get("department") or told.get("company")
    label = _(ROLE_LABELS[next(one for one in HELD if one.value == told["role"])])
    return f"{label}（{where}）" if where else label


def places(many: Sequence[Mapping[str, str]]) -> str:
    """Rights in words."""
    return _("、").join(place(one) for one in many)
