"""The websockets of pods/exec and pods/portforward, on the server's side of a connection."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from io import BufferedIOBase
from typing import Any

PROTOCOL = "v4.channel.k8s.io"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10

# argv and standard input → exit code, output and errors
PodProgram = Callable[[list[str], str], tuple[int, str, str]]


def accept_key(key: str) -> str:
    """Return the header Sec-WebSocket-Accept that answers a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


class ChannelStream:
    """Messages with a channel number, over an upgraded connection."""

    def __init__(self, reader: BufferedIOBase, writer: BufferedIOBase) -> None:
        self._reader, self._writer = reader, writer
        self._lock = threading.Lock()

    def send(self, channel: int, data: bytes) -> None:
        self._send_frame(_BINARY, bytes([channel]) + data)

    def close(self) -> None:
        with suppress(OSError, ValueError):
            self._send_frame(_CLOSE, struct.pack("!H", 1000))

    def receive(self) -> tuple[int, bytes] | None:
        """Return the next message: channel and data; None at the end."""
        while True:
            try:
                code, data = self._read_frame()
            except (OSError, ValueError, struct.error):
                return None
            if code == _PING:
                self._send_frame(_PONG, data)
            elif code == _CLOSE:
                return None
            elif data and code != _PONG:
                return data[0], data[1:]

    def _send_frame(self, code: int, data: bytes) -> None:
        size = len(data)
        if size < 126:
            head = struct.pack("!BB", 0x80 | code, size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x80 | code, 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | code, 127, size)
        with self._lock:
            self._writer.write(head + data)
            self._writer.flush()

    def _read_frame(self) -> tuple[int, bytes]:
        first, second = self._read(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        mask = self._read(4) if second & 0x80 else bytes(4)
        data = self._read(size)
        return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))

    def _read(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) < size:
            raise OSError("the connection has ended")
        return data


def run_program(stream: ChannelStream, program: PodProgram, argv: list[str]) -> None:
    """Run a program with the first message as its standard input, and report how it ended."""
    message = stream.receive()
    code, output, errors = program(argv, message[1].decode() if message else "")
    for channel, text in ((1, output), (2, errors)):
        if text:
            stream.send(channel, text.encode())
    status: dict[str, Any] = {"metadata": {}, "status": "Success"}
    if code:
        causes = [{"reason": "ExitCode", "message": str(code)}]
        status = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode"}
        status["details"] = {"causes": causes}
    stream.send(3, json.dumps(status).encode())
    stream.close()


def forward_connection(stream: ChannelStream, target: tuple[str, int], port: int) -> None:
    """Copy both ways between the stream's first port and a TCP server, until one side ends."""
    for channel in (0, 1):  # data and errors
        stream.send(channel, struct.pack("<H", port))
    with socket.create_connection(target, timeout=10) as connection:
        connection.settimeout(None)
        back = threading.Thread(target=_copy_back, args=(stream, connection), daemon=True)
        back.start()
        while (message := stream.receive()) is not None:
            if message[0] == 0 and message[1]:
                connection.sendall(message[1])
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        back.join()


def _copy_back(stream: ChannelStream, connection: socket.socket) -> None:
    with suppress(OSError, ValueError):
        while data := connection.recv(1 << 16):
            stream.send(0, data)
    stream.close()
