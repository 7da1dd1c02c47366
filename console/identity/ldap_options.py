"""What is asked of who registers an LDAP directory; apart from what speaks to one, whose library is loaded where there is one."""

from __future__ import annotations

from dataclasses import dataclass

from providers.options import option
from providers.secrets import Secret
from quota.errors import N_


@dataclass(frozen=True, kw_only=True)
class LdapOptions:
    """What one is told by whoever runs the directory."""

    server: str = option(N_("服务器地址"), N_("如 ldaps://ldap.example.gov.cn；ldap:// 开头的先转为加密连接(StartTLS)"))
    base: str = option(N_("人员所在的目录"), N_("如 ou=people,dc=example,dc=gov,dc=cn"))
    filter: str = option(
        N_("查找人员的条件"),
        N_('{login} 处为所输入的登录名；AD 用 "(sAMAccountName={login})"'),
        default="(uid={login})",
    )
    subject: str = option(
        N_("永久编号的属性"), N_("不会改给他人的编号：OpenLDAP 为 entryUUID，AD 为 objectGUID"), default="entryUUID"
    )
    bind_dn: str | None = option(N_("查询所用的账号"), N_("完整 DN；不填为匿名查询"), default=None)
    bind_password: Secret | None = option(N_("查询账号的口令"), default=None)
    ca_file: str | None = option(N_("CA 证书文件"), N_("自建 CA 的证书，在运行本系统的主机上"), default=None)
