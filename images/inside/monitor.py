"""Owns a network namespace that leads nowhere, and writes down all that is tried in it.

usage: monitor.py RELAY-PORT|0 [SOCKET]      in the namespace: one route, to SOCKET
       monitor.py relay SOCKET ADDRESS PORT   outside: from SOCKET to the mirror

Every address is routed to loopback, where a packet socket sees who is called: a name server that
knows no name, and no other listener but the relay. One JSON line on stdout for each attempt:
{"kind": "dns"|"connect"|"python"|"relay", "host", "port", "process", "modules"}.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import threading
from contextlib import suppress

HOOK_SOCKET = (
    b"\0pypi-mirror-proof"  # abstract: reached through the network namespace, not through files
)
_said: set[str] = set()
_lock = threading.Lock()


def report(**told: object) -> None:
    line = json.dumps(told, sort_keys=True)
    with _lock:
        if line not in _said:
            _said.add(line)
            print(line, flush=True)


def route_all_to_loopback() -> None:
    """`ip route add local default dev lo`, for both families; IPv6 may be off."""
    index = socket.if_nametoindex("lo")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        for number, family in enumerate((socket.AF_INET, socket.AF_INET6), 1):
            # rtmsg: family, lengths, tos, table main, protocol static, scope host, type local
            body = struct.pack("=8BI", family, 0, 0, 0, 254, 4, 254, 2, 0)
            body += struct.pack("=HHI", 8, 4, index)  # RTA_OIF
            head = struct.pack("=IHHII", 16 + len(body), 24, 0x405, number, 0)
            kernel.send(head + body)
            code = struct.unpack_from("=i", kernel.recv(4096), 16)[0]
            if code and family == socket.AF_INET:
                raise OSError(-code, "no route to loopback")


# -- who was it ---------------------------------------------------------------------------------


def find_process(table: str, port: int) -> str:
    """The command line of who has a socket on this local port; empty where none is seen."""
    wanted = set()
    for name in (table, f"{table}6"):
        with suppress(OSError), open(f"/proc/net/{name}") as lines:
            for line in lines:
                columns = line.split()
                if len(columns) > 9 and columns[1].endswith(f":{port:04X}"):
                    wanted.add(f"socket:[{columns[9]}]")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        with suppress(OSError):
            for handle in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{handle}") in wanted:
                        with open(f"/proc/{pid}/cmdline", "rb") as words:
                            argv = words.read().replace(b"\0", b" ")
                        return argv.decode(errors="replace").strip()[:200]
    return ""


# -- what is tried ------------------------------------------------------------------------------


def serve_dns() -> None:
    """A name server on loopback that fails every question, and says what was asked."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        question, client = server.recvfrom(4096)
        if len(question) < 17:
            continue
        labels, at = [], 12
        while at < len(question) and question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode(errors="replace"))
            at += question[at] + 1
        host = ".".join(labels)
        report(kind="dns", host=host, port=0, process=find_process("udp", client[1]), modules=[])
        # SERVFAIL, as a cluster's DNS answers whose upstream is away
        server.sendto(question[:2] + b"\x81\x82" + question[4:], client)


def watch_packets() -> None:
    """First packets to any address that is not loopback's own."""
    seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    seen.bind(("lo", 0))
    while True:
        frame, info = seen.recvfrom(256)
        if info[2] != 4:  # each packet is seen twice: going out and coming in
            continue
        packet = frame[14:]
        if info[1] == 0x0800 and len(packet) >= 28:
            at, kind, family = (packet[0] & 15) * 4, packet[9], socket.AF_INET
            to, local = packet[16:20], packet[16] == 127
        elif info[1] == 0x86DD and len(packet) >= 48:
            at, kind, family = 40, packet[6], socket.AF_INET6
            to, local = packet[24:40], packet[24:40] == bytes(15) + b"\1"
        else:
            continue
        if local or kind not in (6, 17) or len(packet) < at + 8:
            continue
        source, port = struct.unpack_from("!HH", packet, at)
        if kind == 6 and packet[at + 13] & 0x12 != 2:  # SYN without ACK
            continue
        process = find_process("tcp" if kind == 6 else "udp", source)
        report(
            kind="connect",
            host=socket.inet_ntop(family, to),
            port=port,
            process=process,
            modules=[],
        )


def receive_hook_messages() -> None:
    """What the audit hook of a Python program tells: it knows the module too."""
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.bind(HOOK_SOCKET)
    while True:
        with suppress(ValueError, TypeError):
            report(**json.loads(inbox.recv(65536)))


# -- the one route ------------------------------------------------------------------------------


def copy_stream(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(1 << 18):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def connect_sockets(client: socket.socket, server: socket.socket) -> None:
    back = threading.Thread(target=copy_stream, args=(server, client), daemon=True)
    back.start()
    copy_stream(client, server)
    back.join()
    client.close()
    server.close()


def serve_relay(listener: socket.socket, family: int, target: str | tuple[str, int]) -> None:
    """Everything that comes to the listener goes to the target; each connection is counted."""
    count = 0
    while True:
        client, _ = listener.accept()
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            server.connect(target)
        except OSError as broken:
            where = target if isinstance(target, str) else f"{target[0]}:{target[1]}"
            report(kind="broken", host=where, port=0, process=str(broken), modules=[])
            client.close()
            continue
        count += 1
        report(kind="relay", host="mirror", port=count, process="", modules=[])
        threading.Thread(target=connect_sockets, args=(client, server), daemon=True).start()


def main() -> None:
    first, *rest = sys.argv[1:]
    if first == "relay":
        path, address, port = rest
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        door.bind(path)
        door.listen(512)
        print("ready", flush=True)
        serve_relay(door, socket.AF_INET, (address, int(port)))
    route_all_to_loopback()
    for work in (serve_dns, watch_packets, receive_hook_messages):
        threading.Thread(target=work, daemon=True).start()
    while not any("pypi-mirror-proof" in line for line in open("/proc/net/unix")):  # noqa: SIM115
        select.select([], [], [], 0.01)
    if int(first):
        listener = socket.create_server(("127.0.0.1", int(first)), backlog=512)
        print("ready", flush=True)
        serve_relay(listener, socket.AF_UNIX, rest[0])
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
