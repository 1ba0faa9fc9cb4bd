"""Report which module of a Python program calls which host, and why the program ends.

Put on PYTHONPATH during a proof.
"""

from __future__ import annotations


def _install_hook() -> None:
    import contextlib
    import importlib
    import json
    import os
    import socket
    import sys
    import types

    raised = importlib.import_module("pypi_mirror_raised")
    monitor = b"\0pypi-mirror-proof"
    own_folder = os.path.dirname(os.path.abspath(__file__))
    stdlib = os.path.dirname(os.__file__)
    # libraries that call for others: the module that used them is the caller
    clients = {
        *("urllib3", "requests", "requests_toolbelt", "httpx", "httpcore", "aiohttp", "httplib2"),
        *("aiohappyeyeballs", "h11", "h2", "niquests", "treq", "pycurl", "curl_cffi", "websocket"),
        *("websockets", "anyio", "sniffio", "trio", "uvloop", "gevent", "eventlet", "tenacity"),
        *("backoff", "retrying", "stamina", "wrapt"),
    }

    def is_own(path: str) -> bool:
        return path.startswith(own_folder) or path.startswith("/pypi-mirror/")

    def list_frames(frame: types.FrameType | None) -> list[str]:
        """Return up to four modules on the stack, innermost first, without stdlib and clients."""
        names: list[str] = []
        skipped: list[str] = []
        while frame is not None and len(names) < 4:
            path = frame.f_code.co_filename
            is_stdlib = path.startswith((stdlib, "<frozen")) and "-packages" not in path
            if not is_stdlib and not is_own(path):
                name = str(frame.f_globals.get("__name__", "?"))
                top = name.partition(".")[0]
                if frame.f_code.co_name == "<module>":
                    name += " (while imported)"
                target = skipped if top in clients else names
                if name not in target:
                    target.append(name)
            frame = frame.f_back
        return names or skipped[:4]

    def list_waiting(host: str) -> list[str]:
        """Return the modules of the asyncio task that waits for a look-up in another thread."""
        tasks = sys.modules.get("asyncio.tasks")
        for task in list(getattr(tasks, "_scheduled_tasks", None) or ()):
            names: list[str] = []
            is_caller = False
            coroutine = task.get_coro()
            while coroutine is not None:
                frame = getattr(coroutine, "cr_frame", None)
                if frame is None:
                    break
                is_caller = is_caller or frame.f_locals.get("host") == host
                name = str(frame.f_globals.get("__name__", "?"))
                path = frame.f_code.co_filename
                is_library = path.startswith(stdlib) and "-packages" not in path
                if not is_library and name.partition(".")[0] not in clients and name not in names:
                    names.insert(0, name)
                coroutine = getattr(coroutine, "cr_await", None)
            if is_caller and names:
                return names[:4]
        return []

    def send(message: dict[str, object]) -> None:
        message["process"] = " ".join(sys.orig_argv)[:200]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(json.dumps(message).encode(), monitor)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect"):
            return
        try:
            host, port = arguments[0], arguments[1] if len(arguments) > 1 else 0
            if event == "socket.connect":
                address = arguments[1]
                if not isinstance(address, tuple):
                    return
                if getattr(arguments[0], "type", None) == socket.SOCK_DGRAM:
                    return  # sends nothing: programs do so to learn their own address
                host, port = address[0], address[1]
            if isinstance(host, bytes):
                host = host.decode(errors="replace")
            local = ("", "localhost", "::1", "0.0.0.0", "::", socket.gethostname())
            if not isinstance(host, str) or host in local or host.startswith("127."):
                return
            modules = list_frames(sys._getframe(1)) or list_waiting(host)
            number = port if isinstance(port, int) else 0
            send({"kind": "python", "host": host, "port": number, "modules": modules})
        except Exception:  # noqa: BLE001 - the hook must not change what the program does
            pass

    def report_end(error: BaseException) -> None:
        with contextlib.suppress(Exception):  # as above
            send({"kind": "end", "host": "", "port": 0, "chain": raised.describe_chain(error)})

    def watch_exits() -> None:
        """Report why the program ends: an exception that nothing catches, or SystemExit."""
        earlier = sys.excepthook

        def report_uncaught(
            kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
        ) -> None:
            report_end(error)
            earlier(kind, error, trace)

        sys.excepthook = report_uncaught
        monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
        if monitoring is None:
            return

        def report_exit(_code: object, _offset: int, error: BaseException) -> None:
            if isinstance(error, SystemExit) and error.code not in (None, 0):
                report_end(error)

        tool = 4  # free: 0 to 3 and 5 have names in sys.monitoring
        monitoring.use_tool_id(tool, "pypi-mirror")
        monitoring.register_callback(tool, monitoring.events.RAISE, report_exit)
        monitoring.set_events(tool, monitoring.events.RAISE)

    sys.addaudithook(hook)
    with contextlib.suppress(Exception):  # the log also tells why a program ends
        watch_exits()

    # run the sitecustomize that this one hides
    import importlib.machinery

    path = [folder for folder in sys.path if os.path.abspath(folder) != own_folder]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        import importlib.util

        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":  # not when it is imported for a test
    _install_hook()
