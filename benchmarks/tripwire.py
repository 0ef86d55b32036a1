"""Notice what a process does that reading a backbone must not do."""

import ctypes
import os
import struct
import sys
import sysconfig
from pathlib import Path

# Reading these says nothing to the stranger, and changes nothing.
SYSTEM = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/", "/dev")
PROCESSES = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork")
SOCKETS = ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto")
CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink")
CHANGES += ("os.chmod", "os.truncate", "shutil.rmtree", "shutil.copyfile")
READ_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
IN_OPEN = 0x20


class Tripwire:
    """Watch this process for good.

    Python's audit events tell of files, sockets, processes, imports and pickles;
    inotify tells of `outside`, which other libraries than Python's may open too.
    """

    def __init__(self, model, outside):
        self.model, self.outside = os.path.realpath(model), os.path.realpath(outside)
        self.events = []
        self.watch = Watch(self.outside)
        own = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()]
        own += [
            str(Path(__file__).parents[1]),
            os.path.dirname(self.outside) + "/saved",
        ]
        self.allowed = tuple({*own, *map(os.path.realpath, own), *SYSTEM, self.model})
        sys.addaudithook(self.hook)

    def seen(self):
        """Return what was done, each once."""
        opened = [f"{name} outside the directory" for name in self.watch.opened()]
        marks = [f"{mark}: code was run" for mark in ("run", "unpickled")]
        marks = [m for m in marks if Path(self.outside, m.split(":")[0]).exists()]
        files = [getattr(m, "__file__", None) or "" for m in [*sys.modules.values()]]
        imported = [f"import of {f}" for f in files if f.startswith(self.model)]
        return sorted({*self.events, *opened, *marks, *imported})

    def hook(self, event, args):
        try:
            self.note(event, args)
        except Exception as exc:
            self.events.append(f"{event}, of which nothing is known: {exc!r:.60}")

    def note(self, event, args):
        if event == "open":
            path, _, flags = args
            self.note_open(path, flags or 0)
        elif event in PROCESSES or event in SOCKETS:
            self.events.append(f"{event}{args[:2]!r:.80}")
        elif event in CHANGES:
            paths = [a for a in args if isinstance(a, str | bytes | os.PathLike)]
            for path in map(os.fsdecode, paths):
                self.events.append(f"{event}({path!r:.80})")
        elif event == "pickle.find_class":
            self.events.append(f"pickle.find_class{args!r:.80}")
        elif event == "exec" and getattr(args[0], "co_filename", "").startswith(
            self.model
        ):
            self.events.append(f"exec of {args[0].co_filename}")

    def note_open(self, path, flags):
        if not isinstance(path, str | bytes | os.PathLike):
            return
        path = os.fsdecode(path)
        path = os.path.realpath(path)
        is_written = bool(flags & READ_FLAGS)
        if is_written and path != os.devnull:
            self.events.append(f"{path} is written to")
        elif not path.startswith((*self.allowed, f"/proc/{os.getpid()}/")):
            self.events.append(f"{path} is read")


class Watch:
    """Count what is opened in a directory, by whatever library (Linux alone)."""

    def __init__(self, folder):
        libc = ctypes.CDLL(None, use_errno=True)
        self.number = libc.inotify_init1(os.O_NONBLOCK)
        libc.inotify_add_watch(self.number, os.fsencode(folder), IN_OPEN)

    def opened(self):
        try:
            content = os.read(self.number, 1 << 20)
        except BlockingIOError:
            return set()
        names, start = set(), 0
        while start < len(content):
            _, _, _, size = struct.unpack_from("iIII", content, start)
            name = content[start + 16 : start + 16 + size].rstrip(b"\0")
            names.add(os.fsdecode(name) or "the directory itself")
            start += 16 + size
        return names
