"""Run a CAS server: django-cas-server, whose services and people are told on the command line as JSON.

    {"port": 8000, "services": ["^http://…"], "people": "people.json", "folder": "…"}

``people`` is read at each login: {login: {"password": …, "attributes": {name: value or list}}}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings

ASKED: dict[str, Any] = json.loads(sys.argv[1]) if __name__ == "__main__" else {}
DRESS = (
    "bootstrap3_css",
    "bootstrap3_js",
    "html5shiv",
    "respond",
    "bootstrap4_css",
    "bootstrap4_js",
    "jquery",
    "fontawesome",
)
"""What its pages would load from elsewhere."""
APPS = ["auth", "contenttypes", "sessions", "messages"]


def configured(folder: Path) -> None:
    settings.configure(
        DEBUG=False, SECRET_KEY="of-the-tests-alone" * 3, ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, USE_TZ=True,
        INSTALLED_APPS=[*(f"django.contrib.{one}" for one in APPS), "cas_server"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "cas.db")}},
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.common.CommonMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[{
            "APP_DIRS": True, "BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [],
            "OPTIONS": {"context_processors": ["django.template.context_processors.request",
                                               "django.contrib.messages.context_processors.messages"]},
        }],
        # Tables as they are, not by the history of how they came to be.
        MIGRATION_MODULES=dict.fromkeys([*APPS, "cas_server"]), DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        STATIC_URL="/static/", CAS_AUTH_CLASS=f"{__name__}.People", CAS_NEW_VERSION_HTML_WARNING=False,
        CAS_COMPONENT_URLS=dict.fromkeys(DRESS, "/nothing"), CAS_SHOW_POWERED=False, CAS_INFO_MESSAGES_ORDER=[], CAS_LOGO_URL=None, CAS_FAVICON_URL=None,
    )  # fmt: skip
    django.setup()


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_about: Any) -> None:
        pass


def main() -> None:
    sys.modules["cas_server_of_the_tests"] = sys.modules["__main__"]
    globals()["__name__"] = "cas_server_of_the_tests"
    configured(Path(ASKED["folder"]))

    from cas_server.auth import AuthUser
    from cas_server.models import ReplaceAttributName, ServicePattern
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.urls import include, path

    class People(AuthUser):  # type: ignore[misc]
        """Whoever stands in the file."""

        def _told(self) -> dict[str, Any]:
            found: dict[str, Any] = json.loads(Path(ASKED["people"]).read_text(encoding="utf-8"))
            return dict(found.get(self.username, {}))

        def test_password(self, password: str) -> bool:
            return bool(password) and self._told().get("password") == password

        def attributs(self) -> dict[str, Any]:
            return dict(self._told().get("attributes", {}))

    globals().update(People=People, urlpatterns=[path("cas/", include("cas_server.urls", namespace="cas_server"))])
    call_command("migrate", run_syncdb=True, verbosity=0)
    for place, pattern in enumerate(ASKED["services"]):
        row = ServicePattern.objects.create(pos=place, name=f"service {place}", pattern=pattern, single_log_out=True)
        ReplaceAttributName.objects.create(name="*", service_pattern=row)
    make_server("127.0.0.1", ASKED["port"], get_wsgi_application(), Threads, Quiet).serve_forever()


if __name__ == "__main__":
    main()
