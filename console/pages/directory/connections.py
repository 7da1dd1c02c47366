"""Forms of connections: the fields that an adapter declares, what was typed into them, how a connection was changed, and
what its last probe said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from flask import current_app, request
from flask_wtf import FlaskForm
from sqlalchemy import select
from wtforms import BooleanField, HiddenField, PasswordField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from console.book import actor, settings
from console.forms import hang as hang_beside
from console.lists import Column
from console.programs import Given
from console.words import _, lazy, sentence
from metering.intake import Probe, probes
from providers import registry
from providers.connection import FAULTS
from providers.options import OptionField, OptionShape
from quota import vault
from quota.actors import Role
from quota.audit import AuditRecord
from quota.db import Tx
from quota.errors import N_, Invalid, Refused
from quota.seals import fingerprint

OPTION = "option_"
OPTIONS = Given("option", dict, N_("适配器的参数:名称 → 值;口令的新值写作“名称-new”"), joint="_")


def _new(name: str) -> str:
    """The field of a new secret; what so ends is told to nobody (console.errors)."""
    return f"{OPTION}{name}-new"


PROBED = {**FAULTS, "fault": N_("连接不通"), "error": N_("适配器出错")}


SEEN = N_("所依据的连接:单独一行的 connection")


class ConnectionForm(FlaskForm):  # type: ignore[misc]
    seen = HiddenField(lazy(SEEN))


@cache
def with_options(base: type[FlaskForm], adapter: str) -> Any:
    """``base`` with a field for each option of the adapter, and beside a secret's reference one for the secret itself, to be
    put into the encrypted store."""
    made: dict[str, Any] = {}
    for one in registry.options_of(adapter):
        if one.shape is OptionShape.JSON:
            continue
        made[OPTION + one.name] = _field(one)
        if one.shape is OptionShape.SECRET:
            made[_new(one.name)] = PasswordField(
                lazy(N_("%(label)s：新的值"), label=lazy(one.label)),
                [Optional(), Length(max=vault.LONGEST)],
                description=lazy(N_("填写后加密保存在账本中，此后只显示名称；也可以只在上面写明它在哪里")),
            )
    return type(f"{base.__name__}Of{adapter.title()}", (base,), made)


def _field(field: OptionField) -> Any:
    label, hint = lazy(field.label), lazy(field.hint) if field.hint else ""
    if field.shape is OptionShape.SECRET:
        hint = hint or lazy(N_("file:/路径、env:<变量名>或 store:<名称>"))
        return StringField(label, [Optional(), Length(max=300)], description=hint)
    if field.shape is OptionShape.YES:
        return BooleanField(label, default=field.default, description=hint)
    if field.choices:
        every = ([] if field.required else [SelectChoice("", "—")]) + [SelectChoice(c, c) for c in field.choices]
        return SelectField(label, default=field.default or "", choices=every, description=hint)
    needed = InputRequired(lazy(N_("请填写%(label)s"), label=label)) if field.required else Optional()
    default = None if field.default in (None, ()) else field.default
    default = ", ".join(default) if isinstance(default, tuple) else default if default is None else str(default)
    kind = TextAreaField if field.lines else StringField
    return kind(label, [needed, Length(max=20_000 if field.lines else 2000)], default=default, description=hint)


def given(form: FlaskForm, adapter: str, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the form says, as the book keeps it; what no form shows stays as it was ``before``. Raises Invalid with the
    option's name."""
    for name in request.form:
        if name.startswith(OPTION) and name not in form._fields:
            raise Invalid(
                "adapter.option", N_("适配器没有参数 %(name)s"), name=name.removeprefix(OPTION), field="option"
            )
    found: dict[str, Any] = {}
    for one in registry.options_of(adapter):
        if one.shape is OptionShape.JSON:
            if before and one.name in before:
                found[one.name] = before[one.name]
            continue
        value = form[OPTION + one.name].data
        if one.shape is OptionShape.SECRET and form[_new(one.name)].data:
            value = f"store:{one.name}"  # its name is known once it is kept
        if one.shape is OptionShape.YES or value not in (None, ""):
            found[one.name] = value
    return registry.checked(adapter, found)


def kept_secrets(tx: Tx, form: FlaskForm, adapter: str, code: str) -> dict[str, str]:
    """Put what was typed as a new secret into the store, under the pool's code and the option's name: option → reference."""
    found = {}
    for one in registry.options_of(adapter):
        if one.shape is OptionShape.SECRET and form[_new(one.name)].data:
            try:
                found[one.name] = vault.keep(
                    tx, f"{code}.{one.name}", form[_new(one.name)].data, settings().secrets_key
                )
            except Invalid as refused:
                refused.params["field"] = _new(one.name)
                raise
    return found


def fill(form: FlaskForm, adapter: str, options: Mapping[str, Any]) -> None:
    """Show ``options`` in the form."""
    for one in registry.options_of(adapter):
        if one.shape is OptionShape.JSON or one.name not in options:
            continue
        value = options[one.name]
        if one.shape is OptionShape.TEXTS:
            value = ", ".join(value)
        form[OPTION + one.name].data = value if one.shape is OptionShape.YES else str(value)


def mark(options: Mapping[str, Any]) -> str:
    """What a page was made from, to refuse a stale one."""
    return fingerprint(options)


def told(options: Callable[[Any], Mapping[str, Any]], *roles: Role) -> Column:
    """What programs say as ``seen``, told of one row alone to who may change its connection."""
    return Column(
        "connection", N_("连接标记"), lambda one: mark(options(one)) if actor().role in roles else None
    )  # fmt: skip


def opens(adapter: str, options: Mapping[str, Any]) -> None:
    """Open the adapter, which speaks to nobody. Raises Invalid or NotFound where its options make no sense together."""
    home = str(settings().data)
    resolved = {
        name: value.replace("{home}", home) if isinstance(value, str) else value for name, value in options.items()
    }
    try:
        registry.open_provider(adapter, resolved)
    except Refused:
        raise
    except Exception as fault:
        current_app.logger.info("adapter %s refused its options", adapter, exc_info=True)
        raise Invalid(
            "adapter.options", N_("适配器 %(name)s 的参数不对:%(error)s"), name=adapter, error=str(fault)[:200]
        ) from fault


def hang(form: FlaskForm, refused: Refused) -> None:
    """Show ``refused`` beside the option that it names, else as any form does."""
    field = str(refused.params.get("field", ""))
    if OPTION + field in form._fields and refused.code.partition(".")[0] not in ("pool",):
        refused.params["field"] = OPTION + field
        if refused.code == "secret.clear":
            form[OPTION + field].data = ""  # it may be the secret itself, which no page shows
    hang_beside(form, refused)


@dataclass(frozen=True, slots=True)
class ConnectionChange:
    """One change of a connection: (option, before, after) of what differs."""

    record: AuditRecord
    rows: list[tuple[str, Any, Any]]


def change(record: AuditRecord) -> ConnectionChange:
    before, after = record.before.get("options") or {}, record.after.get("options") or {}
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    return ConnectionChange(record, [(name, before.get(name), after.get(name)) for name in names])


def history(tx: Tx, subject: str, *acts: str) -> list[ConnectionChange]:
    """The last changes of the connection of ``subject``, made by these audited ``acts``, newest first."""
    records = tx.scalars(
        select(AuditRecord)
        .where(AuditRecord.subject == subject, AuditRecord.action.in_(acts))
        .order_by(AuditRecord.sequence.desc())
        .limit(20)
    )
    return [change(record) for record in records]


@dataclass(frozen=True, slots=True)
class ProbeShown:
    """The last probe as a page shows it: ``good`` None while nobody knows."""

    row: Probe
    good: bool | None
    sentence: str


def probed(tx: Tx, subject: str) -> ProbeShown | None:
    """What the last probe of ``subject`` said; None where nobody ever asked."""
    row = probes.last(tx, subject)
    if row is None:
        return None
    if row.waiting:
        return ProbeShown(row, None, _("已安排，任务进程会在一分钟内测试"))
    if row.said == probes.SILENT:
        return ProbeShown(row, True, _("适配器打得开；它没有可以询问的接口"))
    return ProbeShown(
        row, not row.fault, _("连接正常") if not row.fault else sentence(PROBED.get(row.fault, PROBED["fault"]))
    )
