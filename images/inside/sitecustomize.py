"""Report which module of a Python program calls which host. Put on PYTHONPATH during a proof."""

from __future__ import annotations


def _install_hook() -> None:
    import json
    import os
    import socket
    import sys
    import types

    monitor = b"\0pypi-mirror-proof"
    own_folder = os.path.dirname(os.path.abspath(__file__))
    stdlib = os.path.dirname(os.__file__)

    def calling_modules() -> list[str]:
        """Return up to four modules on the stack, innermost first, without the stdlib."""
        names: list[str] = []
        frame: types.FrameType | None = sys._getframe(2)
        while frame is not None and len(names) < 4:
            path = frame.f_code.co_filename
            is_stdlib = path.startswith((stdlib, "<frozen")) and "-packages" not in path
            if not is_stdlib and not path.startswith(own_folder):
                name = str(frame.f_globals.get("__name__", "?"))
                if frame.f_code.co_name == "<module>":
                    name += " (while imported)"
                if name not in names:
                    names.append(name)
            frame = frame.f_back
        return names

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect"):
            return
        try:
            host, port = arguments[0], arguments[1] if len(arguments) > 1 else 0
            if event == "socket.connect":
                address = arguments[1]
                if not isinstance(address, tuple):
                    return
                host, port = address[0], address[1]
            if isinstance(host, bytes):
                host = host.decode(errors="replace")
            local = ("", "localhost", "::1", "0.0.0.0", "::")
            if not isinstance(host, str) or host in local or host.startswith("127."):
                return
            message = {
                "kind": "python",
                "host": host,
                "port": port if isinstance(port, int) else 0,
                "process": " ".join(sys.orig_argv)[:200],
                "modules": calling_modules(),
            }
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.sendto(json.dumps(message).encode(), monitor)
        except Exception:  # noqa: BLE001 - the hook must not change what the program does
            pass

    sys.addaudithook(hook)

    # run the sitecustomize that this one hides
    import importlib.machinery

    path = [folder for folder in sys.path if os.path.abspath(folder) != own_folder]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        import importlib.util

        spec.loader.exec_module(importlib.util.module_from_spec(spec))


_install_hook()
