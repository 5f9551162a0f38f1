"""Private folders of `.eim` processes: the socket, scratch space, and what must be undone.

A folder is held by a file lock for as long as its owner lives. A server that was killed
leaves folders behind, and shared memory with them; the next one finds the locks free and
clears up.
"""

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from andon.errors import RuntimeFailed

SHARED = Path("/dev/shm")  # noqa: S108  (POSIX shared memory on Linux, no temporary file)

_PREFIX = "andon-eim-"
# A longer socket path is cut silently by the program, which then waits for ever.
_LONGEST_SOCKET = 107
_SHM_NAME = re.compile(r"/[A-Za-z0-9._-]{1,64}")


def valid_shm_name(name: object) -> bool:
    """Whether a shared-memory name is one flat name, as `shm_open` wants it."""
    return isinstance(name, str) and bool(_SHM_NAME.fullmatch(name)) and ".." not in name


class Workspace:
    """One process's folder, mode 0700."""

    def __init__(self) -> None:
        base = _base()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        new = self.folder / "new"
        self._lock = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Under this name it has been locked at every moment.
        new.rename(self.folder / "lock")
        (self.folder / "tmp").mkdir(mode=0o700)
        self._open = True

    @property
    def socket(self) -> Path:
        """Where the program shall listen."""
        return self.folder / "s"

    @property
    def scratch(self) -> Path:
        """The program's working and temporary folder."""
        return self.folder / "tmp"

    def owe(self, names: list[str]) -> None:
        """Note shared memory that must be unlinked when the program is gone."""
        if names:
            (self.folder / "shm").write_text("\n".join(names))

    def remove(self) -> None:
        """Unlink noted shared memory and the folder. Safe to call twice."""
        if self._open:
            self._open = False
            _clear(self.folder)
            os.close(self._lock)


def sweep() -> None:
    """Clear what servers left behind that no longer live."""
    with contextlib.suppress(RuntimeFailed, OSError):
        for folder in _base().glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                _sweep(folder)


def _sweep(folder: Path) -> None:
    if folder.lstat().st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
        return
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _clear(folder)
    finally:
        os.close(lock)


def _clear(folder: Path) -> None:
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = (folder / "shm").read_text().splitlines()
    for name in filter(valid_shm_name, names):
        with contextlib.suppress(OSError):
            path = SHARED / name[1:]
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid():
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _base() -> Path:
    """A temporary folder short enough for a socket path."""
    for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  (mkdtemp makes it private)
        if len(os.fsencode(base)) + len(_PREFIX) + 16 <= _LONGEST_SOCKET and Path(base).is_dir():
            return Path(base)
    raise RuntimeFailed(
        "There is no temporary folder with a path short enough for a socket.",
        hint="Set TMPDIR to a folder such as /tmp.",
    )
