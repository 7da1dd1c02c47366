"""Where backups lie: a folder, or a bucket that speaks S3. Small files, written whole, read, listed, deleted.

Keys for S3 come from the environment (AWS_ACCESS_KEY_ID, …) or the machine's role, never from the address.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from pyarrow import fs

from metering.lake import write_whole
from quota.errors import N_, Invalid, Refused


class Unreachable(Refused):
    """The place does not answer, or does not let us in."""

    def __init__(self, place: str, error: Exception) -> None:
        super().__init__("backup.unreachable", N_("备份位置 %(place)s 无法读写：%(why)s"), place=place, why=str(error))


class BackupPlace:
    """One place of backups. Names in it have "/" between their parts."""

    def __init__(self, address: str) -> None:
        """Raises Invalid for an address with a password in it, or of a kind that nobody knows."""
        self.address = address
        self.shown = shown(address)
        if "://" not in address:
            self._files: fs.FileSystem = fs.LocalFileSystem()
            self._root = str(Path(address).absolute())
            self.local: Path | None = Path(self._root)
            return
        if urlsplit(address).password or urlsplit(address).username:
            raise Invalid("backup.secret", N_("备份地址中不能写口令；请用环境变量 AWS_ACCESS_KEY_ID 等提供"))
        self.local = None
        try:
            self._files, root = fs.FileSystem.from_uri(address)
        except (ValueError, OSError, NotImplementedError) as error:
            raise Invalid("backup.address", N_("不是备份地址：%(why)s"), why=str(error)) from None
        self._root = root.rstrip("/")

    def read(self, name: str) -> bytes:
        """What is kept under ``name``. Raises FileNotFoundError, Unreachable."""
        try:
            with self._files.open_input_stream(f"{self._root}/{name}", compression=None) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unreachable(self.shown, error) from error

    def write(self, name: str, content: bytes) -> None:
        """Keep ``content`` under ``name``, whole and durable on return. Raises Unreachable; OSError where a disk is full."""
        if self.local is not None:
            write_whole(self.local / name, content)
            return
        try:
            with self._files.open_output_stream(f"{self._root}/{name}", compression=None) as stream:
                stream.write(content)
        except OSError as error:
            raise Unreachable(self.shown, error) from error

    def prepare(self) -> None:
        """Have the place be there, as far as it may be made. Raises Unreachable."""
        try:
            self._files.create_dir(self._root, recursive=True)
        except OSError as error:
            raise Unreachable(self.shown, error) from error

    def names(self, folder: str) -> dict[str, int]:
        """Every name below ``folder`` with its size in bytes. Raises Unreachable."""
        selector = fs.FileSelector(f"{self._root}/{folder}", recursive=True, allow_not_found=True)
        try:
            found = self._files.get_file_info(selector)
        except OSError as error:
            raise Unreachable(self.shown, error) from error
        start = len(self._root) + 1
        return {
            one.path[start:]: one.size
            for one in found
            if one.type == fs.FileType.File and not one.base_name.startswith(".")
        }

    def delete(self, name: str) -> None:
        """Forget what is kept under ``name``, if it is there. Raises Unreachable."""
        with suppress(FileNotFoundError):
            try:
                self._files.delete_file(f"{self._root}/{name}")
            except FileNotFoundError:
                raise
            except OSError as error:
                raise Unreachable(self.shown, error) from error

    def free(self) -> int | None:
        """Bytes of room left; None where nobody can tell."""
        if self.local is None:
            return None
        nearest = next(one for one in (self.local, *self.local.parents) if one.exists())
        found = os.statvfs(nearest)
        return found.f_bavail * found.f_frsize


def shown(address: str) -> str:
    """The address without what it says of how to get there."""
    return address.partition("?")[0]


def parts(path: Path, size: int) -> Iterator[bytes]:
    """What a file holds, ``size`` bytes at a time."""
    with path.open("rb") as file:
        while part := file.read(size):
            yield part
