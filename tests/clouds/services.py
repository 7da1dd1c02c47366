"""Brings up the services of a real OpenStack on the loopback, and takes them down: Keystone, Placement, Nova with its in-tree fake
hypervisors, Neutron's API, Glance, Cinder with its in-tree fake backend, Gnocchi; MariaDB, RabbitMQ and memcached below.

    python -m tests.clouds.services up FOLDER        some minutes the first time, one later; needs root, apt and PyPI
    python -m tests.clouds.services down FOLDER [--wipe]

Everything lies in FOLDER, which every user may enter (database servers run as their own). A step that was done once is noted
there and not done again; a service that runs is left alone. What runs is ended by the process ids that were noted, each
with its start time, so that nobody else's process is ever meant.
"""

from __future__ import annotations

import argparse
import configparser
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.patience import A_WHILE_S, pause, until

HOST = "127.0.0.1"
PORTS = {
    "keystone": 15000, "placement": 18778, "nova": 18774, "glance": 19292, "neutron": 19696, "cinder": 18776, "gnocchi": 18041,
    "mariadb": 13306, "rabbitmq": 15673, "memcached": 11212, "epmd": 14369, "distribution": 25673,
}  # fmt: skip
WORD = "testbed"
REGION = "RegionOne"
COMPUTES = 2
DEBIAN = ("mariadb-server", "rabbitmq-server", "memcached")
PYPI = (
    "keystone==30.0.0", "nova==34.0.0", "openstack-placement==16.0.0", "glance==33.0.0", "neutron==29.0.0", "cinder==29.0.0",
    "gnocchi[mysql,keystone]==4.7.1", "openstacksdk==4.22.0", "pymysql", "uwsgi", "python-memcached", "pymemcache",
)  # fmt: skip
DATABASES = ("keystone", "placement", "nova_api", "nova_cell0", "nova_cell1", "glance", "neutron", "cinder", "gnocchi")
OF_A_PERSON = ("auth_url", "username", "password", "project_name", "user_domain_name", "project_domain_name")
CATALOGUE = {
    "identity": ("keystone", "/v3"), "placement": ("placement", ""), "compute": ("nova", "/v2.1"), "image": ("glance", ""),
    "network": ("neutron", ""), "block-storage": ("cinder", "/v3/%(project_id)s"), "metric": ("gnocchi", ""),
}  # fmt: skip

REGISTERED = {
    "servers": 10, "class:VCPU": 20, "class:MEMORY_MB": 51200, "class:DISK_GB": 10_000, "server_metadata_items": 128,
    "server_injected_files": 5, "server_injected_file_content_bytes": 10_240, "server_injected_file_path_bytes": 255,
    "server_key_pairs": 100, "server_groups": 10, "server_group_members": 10,
}  # fmt: skip
"""What Nova counts where Keystone keeps the limits; what is not registered there nobody may have any of."""


class Services:
    """The services in ``folder``."""

    def __init__(self, folder: Path, offset: int = 0) -> None:
        self.folder = folder.resolve()
        self.ports = {name: port + offset for name, port in PORTS.items()}
        self.etc, self.var, self.run, self.log = (self.folder / name for name in ("etc", "var", "run", "log"))
        self.bin = self.folder / "venv" / "bin"

    # ------------------------------------------------------------------------------------------------------- mechanism

    def once(self, name: str, act: Callable[[], object]) -> None:
        mark = self.run / f"done.{name}"
        if not mark.exists():
            print("step:", name, flush=True)
            act()
            mark.touch()

    def call(self, *command: str | Path, env: Mapping[str, str] | None = None, stdin: str = "") -> None:
        """Raises RuntimeError with what it said."""
        with (self.log / "setup.log").open("a") as out:
            done = subprocess.run(
                [str(part) for part in command], env={**os.environ, **(env or {})}, input=stdin, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            out.write(done.stdout)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))[:200]}: {done.returncode}\n{done.stdout[-2000:]}")

    def alive(self, name: str) -> bool:
        try:
            pid, began = (self.run / f"{name}.pid").read_text().split()
        except (OSError, ValueError):
            return False
        return _began(int(pid)) == began

    def start(self, name: str, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
        """In a session of its own, its id and when it began noted."""
        if self.alive(name):
            return
        with (self.log / f"{name}.log").open("ab") as out:
            process = subprocess.Popen(
                [str(part) for part in command], env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        pause(0.2)
        began = _began(process.pid)
        if process.poll() is not None or began is None:
            raise RuntimeError(f"{name} ended at once; see {self.log / name}.log")
        (self.run / f"{name}.pid").write_text(f"{process.pid} {began}")

    def stop(self, name: str) -> None:
        if self.alive(name):
            pid = int((self.run / f"{name}.pid").read_text().split()[0])
            os.kill(pid, signal.SIGTERM)
            for _ in range(100):
                if not self.alive(name):
                    break
                pause(0.2)
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # what it started: it leads a group of its own
        (self.run / f"{name}.pid").unlink(missing_ok=True)

    def api(self, name: str, module: str, *arguments: str, **env: str) -> None:
        """A WSGI application in uwsgi, on its port."""
        self.start(
            f"{name}-api", self.bin / "uwsgi", "--http-socket", f"{HOST}:{self.ports[name]}", "--module", module, "--virtualenv",
            self.folder / "venv", "--master", "--processes", "2" if name in ("keystone", "nova") else "1", "--threads", "4",
            "--enable-threads", "--thunder-lock", "--lazy-apps", "--need-app", "--die-on-term", "--buffer-size", "65535",
            "--add-header", "Connection: close", "--disable-logging", *(["--pyargv", " ".join(arguments)] if arguments else []),
            env=env,
        )  # fmt: skip

    def answers(self, name: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.ports[name]}/", timeout=A_WHILE_S):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def aged(self, server: str, days: int) -> None:
        """Make a server older in Nova's own books: no interface does."""
        past = f"DATE_SUB(created_at, INTERVAL {days:d} DAY)"
        self.call(*self._sql(
            f"UPDATE nova_cell1.instances SET created_at = {past}, launched_at = {past} WHERE uuid = '{UUID(server)}'"
        ))  # fmt: skip

    def quota_by_keystone(self, unified: bool) -> None:
        """Have Nova hold projects to Keystone's limits, or to its own quota sets again. Its interface and conductor start anew."""
        path = self._file("nova")
        written = configparser.RawConfigParser(delimiters=("=",))
        written.optionxform = str  # type: ignore[assignment,method-assign]
        written.read(path)
        for name in ("quota", "oslo_limit"):
            written.remove_section(name)
        if unified:
            us = {name: value for name, value in self._us("nova").items() if not name.startswith("project")}
            written["quota"] = {"driver": "nova.quota.UnifiedLimitsDriver"}
            written["oslo_limit"] = {**us, "system_scope": "all", "endpoint_id": self._limited_endpoint()}
        with path.open("w") as out:
            written.write(out)
        for name in ("nova-api", "nova-conductor"):
            self.stop(name)
        self.services()
        until(lambda: self.answers("nova"), "nova")

    def _limited_endpoint(self) -> str:
        """Nova's, with limits registered for all that it counts, and its user let read them."""
        cloud = self._connected()
        nova, user = cloud.identity.find_service("nova"), cloud.identity.find_user("nova")
        cloud.identity.assign_system_role_to_user(user, cloud.identity.find_role("reader"), "all")
        there = {one.resource_name for one in cloud.identity.registered_limits(service_id=nova.id)}
        for name, most in REGISTERED.items():
            if name not in there:
                cloud.identity.create_registered_limit(
                    service_id=nova.id, region_id=REGION, resource_name=name, default_limit=most
                )
        ends = cloud.identity.endpoints(service_id=nova.id, interface="public")
        return str(next(iter(ends)).id)

    def _connected(self) -> Any:
        """As the administrator."""
        import openstack

        return openstack.connect(
            auth={name: value for name, value in self._us("admin", project_name="admin").items() if name in OF_A_PERSON},
            region_name=REGION, identity_api_version="3", load_yaml_config=False, load_envvars=False,
        )  # fmt: skip

    # ---------------------------------------------------------------------------------------------------- what is there

    def up(self) -> None:
        os.umask(0o022)
        for one in (self.etc, self.var, self.run, self.log):
            one.mkdir(parents=True, exist_ok=True)
        os.environ |= {"no_proxy": HOST, "NO_PROXY": HOST}
        self.once("debian", self._debian)
        self.once("pypi", self._pypi)
        self._below()
        self.once("databases", self._databases)
        self._configured()
        self.once("keystone", self._keystone)
        self.api("keystone", "keystone.wsgi.api:application", OS_KEYSTONE_CONFIG_FILES=str(self._file("keystone")))
        until(lambda: self.answers("keystone"), "keystone")
        self._clouds_yaml()
        self.once("catalogue", self._catalogue)
        self.once("schemas", self._schemas)
        self.services()
        self.once("hosts", self._hosts)
        print(f"up: OS_CLIENT_CONFIG_FILE={self.folder}/clouds.yaml OS_CLOUD=testbed", flush=True)

    def down(self, *, wipe: bool = False) -> None:
        """End what runs, databases last; ``wipe`` takes its data along, not the packages."""
        last = [
            "keystone-api",
            "rabbitmq",
            "epmd",
            "memcached",
            "mariadb",
        ]  # a rabbit without epmd starts one of its own
        names = [one.stem for one in self.run.glob("*.pid")] if self.run.is_dir() else []
        for name in [*(one for one in names if one not in last), *last]:
            self.stop(name)
        if wipe:
            for one in (self.etc, self.var, self.log):
                shutil.rmtree(one, ignore_errors=True)
            for mark in self.run.glob("done.*"):
                if mark.name not in ("done.debian", "done.pypi"):
                    mark.unlink()

    def _debian(self) -> None:
        policy = Path("/usr/sbin/policy-rc.d")  # nothing that is installed starts by itself
        if not policy.exists():
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        self.call("apt-get", "update", "-qq")
        self.call(
            "apt-get",
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            *DEBIAN,
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )

    def _pypi(self) -> None:
        self.call(sys.executable, "-m", "venv", self.folder / "venv")
        self.call(self.bin / "pip", "install", "--quiet", "--disable-pip-version-check", *PYPI)

    def _below(self) -> None:
        data, socket_folder = self.var / "mysql", self.run / "mysql"
        for one in (data, socket_folder):
            one.mkdir(exist_ok=True)
            shutil.chown(one, "mysql", "mysql")
        self.once("mariadb", lambda: self.call(
            "mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}", "--auth-root-authentication-method=socket",
            "--auth-root-socket-user=root", "--skip-test-db",
        ))  # fmt: skip
        self.start(
            "mariadb", "/usr/sbin/mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}",
            f"--socket={socket_folder}/sock", f"--pid-file={socket_folder}/pid", f"--bind-address={HOST}",
            f"--port={self.ports['mariadb']}", "--skip-name-resolve", "--max-connections=800", "--innodb-flush-log-at-trx-commit=0",
            "--innodb-flush-method=nosync", "--character-set-server=utf8mb4", "--performance-schema=OFF", "--skip-log-bin",
        )  # fmt: skip
        rabbit = self.var / "rabbit"
        rabbit.mkdir(exist_ok=True)
        shutil.chown(rabbit, "rabbitmq", "rabbitmq")
        (self.etc / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {HOST}:{self.ports['rabbitmq']}\nvm_memory_high_watermark.absolute = 1GB\nlog.console = true\nlog.file = false\n"
        )
        (self.etc / "plugins").write_text("[].")
        as_rabbit = ("setpriv", "--reuid", "rabbitmq", "--regid", "rabbitmq", "--clear-groups")
        self.start("epmd", *as_rabbit, "/usr/bin/epmd", "-address", HOST, "-port", str(self.ports["epmd"]))
        server = next(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")) / "sbin" / "rabbitmq-server"
        self.start("rabbitmq", *as_rabbit, server, env={
            "HOME": str(rabbit), "RABBITMQ_NODENAME": f"clouds{self.ports['rabbitmq']}@localhost", "RABBITMQ_MNESIA_BASE": str(rabbit / "mnesia"),
            "RABBITMQ_LOG_BASE": str(rabbit), "RABBITMQ_CONFIG_FILE": str(self.etc / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.etc / "plugins"), "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_DIST_PORT": str(self.ports["distribution"]), "ERL_EPMD_PORT": str(self.ports["epmd"]), "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
        })  # fmt: skip
        self.start(
            "memcached", "/usr/bin/memcached", "-u", "nobody", "-l", HOST, "-p", str(self.ports["memcached"]), "-U", "0"
        )
        until(
            lambda: subprocess.run(self._sql("select 1"), capture_output=True, check=False).returncode == 0, "mariadb"
        )

    def _sql(self, text: str) -> list[str]:
        return ["mariadb", "--no-defaults", "-S", str(self.run / "mysql" / "sock"), "-e", text]

    def _databases(self) -> None:
        for at in (HOST, "localhost"):
            self.call(*self._sql(f"CREATE USER IF NOT EXISTS 'os'@'{at}' IDENTIFIED BY '{WORD}'"))
        for name in DATABASES:
            self.call(*self._sql(f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb3"))
            for at in (HOST, "localhost"):
                self.call(*self._sql(f"GRANT ALL ON {name}.* TO 'os'@'{at}'"))

    # --------------------------------------------------------------------------------------------------- configuration

    def _file(self, name: str) -> Path:
        return self.etc / name / f"{name}.conf"

    def _connection(self, database: str) -> str:
        return f"mysql+pymysql://os:{WORD}@{HOST}:{self.ports['mariadb']}/{database}?charset=utf8"

    def _us(self, user: str, **more: str) -> dict[str, str]:
        """How a service speaks to Keystone as ``user``."""
        return {
            "auth_url": f"http://{HOST}:{self.ports['keystone']}/v3", "auth_type": "password", "project_domain_name": "Default",
            "user_domain_name": "Default", "project_name": "service", "username": user, "password": WORD,
            "region_name": REGION, **more,
        }  # fmt: skip

    def _write(self, name: str, sections: Mapping[str, Mapping[str, object]], file: str = "") -> None:
        path = self.etc / name / (file or f"{name}.conf")
        path.parent.mkdir(exist_ok=True)
        (self.var / name / "locks").mkdir(parents=True, exist_ok=True)
        written = configparser.RawConfigParser(delimiters=("=",))
        written.optionxform = str  # type: ignore[assignment,method-assign]
        for section, values in sections.items():
            if section == "DEFAULT":
                written.defaults().update({key: str(value) for key, value in values.items()})
            else:
                written[section] = {key: str(value) for key, value in values.items()}
        with path.open("w") as out:
            written.write(out)

    def _token(self, user: str) -> dict[str, str]:
        return self._us(user, www_authenticate_uri=f"http://{HOST}:{self.ports['keystone']}/v3",
                        memcached_servers=f"{HOST}:{self.ports['memcached']}", service_token_roles_required="true",
                        service_token_roles="service")  # fmt: skip

    def _common(self, name: str) -> dict[str, dict[str, object]]:
        return {
            "DEFAULT": {"transport_url": f"rabbit://guest:guest@{HOST}:{self.ports['rabbitmq']}/", "use_stderr": "true", "host": "testbed",
                        "my_ip": HOST, "state_path": self.var / name},
            "oslo_concurrency": {"lock_path": self.var / name / "locks"},
            "oslo_messaging_notifications": {"driver": "noop"},
            "keystone_authtoken": self._token(name),
        }  # fmt: skip

    def _database(self, name: str) -> dict[str, object]:
        return {"connection": self._connection(name), "max_pool_size": 5, "max_overflow": 20}

    def _configured(self) -> None:
        ks = self.var / "keystone"
        self._write("keystone", {
            "database": self._database("keystone"), "token": {"provider": "fernet", "expiration": 14400},
            "cache": {"enabled": "true", "backend": "dogpile.cache.pymemcache", "memcache_servers": f"{HOST}:{self.ports['memcached']}"},
            "fernet_tokens": {"key_repository": ks / "fernet"}, "fernet_receipts": {"key_repository": ks / "receipts"},
            "credential": {"key_repository": ks / "credential"}, "identity": {"password_hash_rounds": 4},
        })  # fmt: skip
        self._write("placement", {
            "api": {"auth_strategy": "keystone"}, "placement_database": self._database("placement"),
            "keystone_authtoken": self._token("placement"),
        })  # fmt: skip
        self._nova()
        common = self._common("glance")
        glance = self.var / "glance"
        for one in ("images", "staging", "tasks"):
            (glance / one).mkdir(parents=True, exist_ok=True)
        common["DEFAULT"] |= {
            "enabled_backends": "fs:file",
            "worker_self_reference_url": f"http://{HOST}:{self.ports['glance']}",
        }
        self._paste("glance", "glance-api-paste.ini")
        self._write("glance", common | {
            "glance_store": {"default_backend": "fs"}, "fs": {"filesystem_store_datadir": glance / "images"},
            "os_glance_staging_store": {"filesystem_store_datadir": glance / "staging"},
            "os_glance_tasks_store": {"filesystem_store_datadir": glance / "tasks"}, "paste_deploy": {"flavor": "keystone"},
            "database": self._database("glance"),
        }, "glance-api.conf")  # fmt: skip
        common = self._common("neutron")
        common["DEFAULT"] |= {
            "core_plugin": "ml2", "service_plugins": "router", "api_paste_config": self.etc / "neutron" / "api-paste.ini",
            "auth_strategy": "keystone", "notify_nova_on_port_status_changes": "false",
            "notify_nova_on_port_data_changes": "false", "rpc_workers": 0, "dhcp_agent_notification": "false",
        }  # fmt: skip
        self._paste("neutron", "api-paste.ini")
        self._write("neutron", common | {
            "database": self._database("neutron"), "nova": self._us("nova"), "placement": self._us("placement"),
            "ml2": {"type_drivers": "local,flat,vlan,vxlan", "tenant_network_types": "vxlan", "mechanism_drivers": "openvswitch"},
            "ml2_type_vxlan": {"vni_ranges": "1:4000"}, "ml2_type_flat": {"flat_networks": "*"},
        })  # fmt: skip
        common = self._common("cinder")
        common["DEFAULT"] |= {
            "api_paste_config": self.etc / "cinder" / "api-paste.ini", "auth_strategy": "keystone", "enabled_backends": "fake",
            "resource_query_filters_file": self.etc / "cinder" / "resource_filters.json", "default_volume_type": "ssd",
            "glance_api_servers": f"http://{HOST}:{self.ports['glance']}",
        }  # fmt: skip
        self._paste("cinder", "api-paste.ini", "resource_filters.json")
        self._write("cinder", common | {
            "fake": {"volume_driver": "cinder.tests.fake_driver.FakeLoggingVolumeDriver", "volume_backend_name": "fake"},
            "coordination": {"backend_url": f"file://{self.var}/cinder/coord"}, "database": self._database("cinder"),
            "nova": self._us("nova"), "service_user": self._us("cinder", send_service_user_token="true"),
        })  # fmt: skip
        self._gnocchi()

    def _nova(self) -> None:
        common = self._common("nova")
        common["DEFAULT"] |= {
            "instances_path": self.var / "nova" / "instances", "compute_driver": "fake.FakeDriverWithoutFakeNodes",
            "allow_resize_to_same_host": "true", "cpu_allocation_ratio": 4.0, "ram_allocation_ratio": 4.0,
            "resize_confirm_window": 0, "reclaim_instance_interval": 0, "heal_instance_info_cache_interval": 0,
        }  # fmt: skip
        sections = common | {
            "api": {"auth_strategy": "keystone"}, "placement": self._us("placement"), "neutron": self._us("neutron"),
            "cinder": self._us("cinder"), "keystone": self._us("nova"),
            "service_user": self._us("nova", send_service_user_token="true"),
            "glance": {"api_servers": f"http://{HOST}:{self.ports['glance']}"}, "vnc": {"enabled": "false"},
            "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 60}, "conductor": {"workers": 1},
            "oslo_messaging_rabbit": {"heartbeat_timeout_threshold": 0},
        }  # fmt: skip
        self._paste("nova", "api-paste.ini")
        self._write("nova", sections, "compute-base.conf")  # computes may not see the databases
        self._write(
            "nova", sections | {"api_database": self._database("nova_api"), "database": self._database("nova_cell1")}
        )
        for number in range(1, COMPUTES + 1):
            own = self.var / f"compute{number}"
            own.mkdir(exist_ok=True)
            self._write("nova", {
                "DEFAULT": {"host": f"fake{number:02d}", "state_path": own, "instances_path": own / "instances"},
                "oslo_concurrency": {"lock_path": own / "locks"},
            }, f"compute{number}.conf")  # fmt: skip

    def _gnocchi(self) -> None:
        data = self.var / "gnocchi"
        for one in ("storage", "coord"):
            (data / one).mkdir(parents=True, exist_ok=True)
        shipped = next(
            (self.folder / "venv" / "lib").glob("python3*/site-packages/gnocchi/rest/api-paste.ini")
        ).read_text()
        (self.etc / "gnocchi").mkdir(exist_ok=True)
        # Keystone's middleware reads /etc alone unless the filter names another file.
        own = f"oslo_config_project = gnocchi\noslo_config_file = {self._file('gnocchi')}"
        (self.etc / "gnocchi" / "api-paste.ini").write_text(shipped.replace("oslo_config_project = gnocchi", own))
        storage = {"driver": "file", "file_basepath": data / "storage"}
        self._write("gnocchi", {
            "DEFAULT": {"coordination_url": f"file://{data}/coord", "parallel_operations": 2},
            "api": {"auth_mode": "keystone", "paste_config": self.etc / "gnocchi" / "api-paste.ini", "max_limit": 5000},
            "indexer": {"url": self._connection("gnocchi")}, "storage": storage, "incoming": storage,
            "metricd": {"workers": 2, "metric_processing_delay": 2, "processing_replicas": 1},
            "keystone_authtoken": self._token("gnocchi"),
        })  # fmt: skip

    def _paste(self, name: str, *files: str) -> None:
        """What a package ships for its own configuration folder."""
        (self.etc / name).mkdir(exist_ok=True)
        for file in files:
            shutil.copyfile(self.folder / "venv" / "etc" / name / file, self.etc / name / file)

    # ------------------------------------------------------------------------------------------------------- services

    def _keystone(self) -> None:
        for one in ("fernet", "receipts", "credential"):
            (self.var / "keystone" / one).mkdir(mode=0o700, exist_ok=True)
        url = f"http://{HOST}:{self.ports['keystone']}/v3"
        manage: Sequence[str | Path] = (self.bin / "keystone-manage", "--config-file", self._file("keystone"))
        self.call(*manage, "db_sync")
        for one in ("fernet_setup", "credential_setup"):
            self.call(*manage, one, "--keystone-user", "root", "--keystone-group", "root")
        self.call(
            *manage, "bootstrap", "--bootstrap-password", WORD, "--bootstrap-region-id", REGION, "--bootstrap-public-url", url,
            "--bootstrap-internal-url", url, "--bootstrap-admin-url", url,
        )  # fmt: skip

    def _clouds_yaml(self) -> None:
        (self.folder / "clouds.yaml").write_text(
            "clouds:\n  testbed:\n    region_name: RegionOne\n    identity_api_version: 3\n    auth: "
            f'{{auth_url: "http://{HOST}:{self.ports["keystone"]}/v3", username: admin, password: "{WORD}", project_name: admin, '
            "user_domain_name: Default, project_domain_name: Default}\n"
        )

    def _catalogue(self) -> None:
        cloud = self._connected()
        domain = cloud.identity.find_domain("Default") or cloud.identity.find_domain("default")
        project = cloud.identity.find_project("service") or cloud.identity.create_project(
            name="service", domain_id=domain.id
        )
        roles = {one.name: one for one in cloud.identity.roles()}
        for name in ("admin", "member", "reader", "service"):
            roles[name] = roles.get(name) or cloud.identity.create_role(name=name)
        for name in ("placement", "nova", "glance", "neutron", "cinder", "gnocchi"):
            user = cloud.identity.find_user(name) or cloud.identity.create_user(
                name=name, password=WORD, domain_id=domain.id
            )
            for role in ("admin", "service"):
                cloud.identity.assign_project_role_to_user(project, user, roles[role])
        there = {one.type: one for one in cloud.identity.services()}
        ends = {(one.service_id, one.interface) for one in cloud.identity.endpoints()}
        for kind, (name, path) in CATALOGUE.items():
            service = there.get(kind) or cloud.identity.create_service(type=kind, name=name)
            for interface in ("public", "internal", "admin"):
                if (service.id, interface) not in ends:
                    cloud.identity.create_endpoint(
                        service_id=service.id,
                        interface=interface,
                        region_id=REGION,
                        url=f"http://{HOST}:{self.ports[name]}{path}",
                    )

    def _schemas(self) -> None:
        nova: Sequence[str | Path] = (self.bin / "nova-manage", "--config-file", self._file("nova"))
        self.call(self.bin / "placement-manage", "--config-file", self._file("placement"), "db", "sync",
                  env={"OS_PLACEMENT_CONFIG_DIR": str(self.etc / "placement")})  # fmt: skip
        self.call(*nova, "api_db", "sync")
        self.call(*nova, "cell_v2", "map_cell0", "--database_connection", self._connection("nova_cell0"))
        self.call(*nova, "db", "sync")
        self.call(*nova, "cell_v2", "create_cell", "--name", "cell1", "--database_connection", self._connection("nova_cell1"),
                  "--transport-url", f"rabbit://guest:guest@{HOST}:{self.ports['rabbitmq']}/")  # fmt: skip
        self.call(self.bin / "neutron-db-manage", "--config-file", self._file("neutron"), "upgrade", "heads")
        self.call(self.bin / "glance-manage", "--config-file", self.etc / "glance" / "glance-api.conf", "db_sync")
        self.call(self.bin / "cinder-manage", "--config-file", self._file("cinder"), "db", "sync")
        self.call(self.bin / "gnocchi-upgrade", "--config-file", self._file("gnocchi"))

    def services(self) -> None:
        """Start what does not run."""
        self.api("placement", "placement.wsgi.api:application", OS_PLACEMENT_CONFIG_DIR=str(self.etc / "placement"))
        self.api("glance", "glance.wsgi.api:application", OS_GLANCE_CONFIG_DIR=str(self.etc / "glance"))
        self.api("neutron", "neutron.wsgi.api:application", OS_NEUTRON_CONFIG_DIR=str(self.etc / "neutron"),
                 OS_NEUTRON_CONFIG_FILES="neutron.conf")  # fmt: skip
        self.api("nova", "nova.wsgi.osapi_compute:application", OS_NOVA_CONFIG_DIR=str(self.etc / "nova"))
        self.api("gnocchi", "gnocchi.rest.wsgi:application", "--config-file", str(self._file("gnocchi")))
        self.api("cinder", "cinder.wsgi.api:application", "--config-file", str(self._file("cinder")))
        for name in ("gnocchi-metricd", "nova-conductor", "nova-scheduler", "cinder-scheduler", "cinder-volume"):
            self.start(name, self.bin / name, "--config-file", self._file(name.partition("-")[0]))
        until(lambda: self.answers("placement") and self.answers("glance"), "placement and glance")
        for number in range(1, COMPUTES + 1):
            self.start(
                f"nova-compute{number}", self.bin / "nova-compute", "--config-file", self.etc / "nova" / "compute-base.conf",
                "--config-file", self.etc / "nova" / f"compute{number}.conf",
            )  # fmt: skip
        for name in ("nova", "neutron", "cinder", "gnocchi"):
            until(lambda name=name: self.answers(name), name)

    def _hosts(self) -> None:
        nova: Sequence[str | Path] = (self.bin / "nova-manage", "--config-file", self._file("nova"), "cell_v2")

        def found() -> bool:
            self.call(*nova, "discover_hosts")
            told = subprocess.run([*map(str, nova), "list_hosts"], capture_output=True, text=True, check=False).stdout
            return told.count(" fake") >= COMPUTES

        until(found, f"{COMPUTES} hosts", every=2)


def _began(pid: int) -> str | None:
    """When a process began, by the kernel's own count; None where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("what", choices=("up", "down"))
    asked.add_argument("folder", type=Path)
    asked.add_argument("--offset", type=int, default=0, help="added to every port")
    asked.add_argument("--wipe", action="store_true", help="with its data, not its packages")
    told = asked.parse_args()
    services = Services(told.folder, told.offset)
    if told.what == "up":
        services.up()
    else:
        services.down(wipe=told.wipe)


if __name__ == "__main__":
    main()
