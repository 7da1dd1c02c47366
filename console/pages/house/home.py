"""The first page after login: what waits for this person. Its blocks come from the other view modules."""

from __future__ import annotations

from flask import Blueprint, render_template

from console import frame
from console.access import EVERYBODY, allow, visitor
from console.book import actor, reading
from console.words import _
from quota.actors import Role
from quota.errors import N_

blueprint = Blueprint("home", __name__)

TITLES = {
    Role.TENANT: N_("等我办的事"),
    Role.SUPERVISOR: N_("待办队列"),
    Role.AUTHORITY: N_("待决事项"),
    Role.PROVIDER: N_("待办工单"),
    Role.AUDITOR: N_("审计概览"),
    Role.SYSADMIN: N_("系统概览"),
    Role.SECADMIN: N_("授权概览"),
    Role.AUDADMIN: N_("审计日志概览"),
}


@blueprint.get("/")
@allow(*EVERYBODY)
def index() -> str:
    return render_template("home/index.html", title=_(TITLES[visitor().role]), columns=frame.blocks(reading(), actor()))
