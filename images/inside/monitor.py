"""Hold a network namespace without a way out, and report every attempt to leave it.

usage: monitor.py PORT|0 [SOCKET]            in the namespace: relay PORT, the only route, to SOCKET
       monitor.py relay SOCKET ADDRESS PORT  outside: relay SOCKET to the mirror

Every address is routed to loopback. There, a packet socket sees every connection, a name server
fails every query, and the relay is the only other listener. Each attempt is a JSON line on stdout:
{"kind": "dns"|"connect"|"python"|"relay"|"broken"|"end", "host", "port", "process", "modules"}. An
"end" says why a Python program ended: its "chain" is what raised.py describes.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

HOOK_SOCKET = b"\0pypi-mirror-proof"  # abstract: belongs to the network namespace, not to a folder
_reported: set[str] = set()
_lock = threading.Lock()


def report(
    kind: str,
    host: str,
    port: int = 0,
    process: str = "",
    modules: Sequence[str] = (),
    chain: Sequence[dict[str, object]] = (),
) -> None:
    """Print an event unless the same one was printed before."""
    event = {"kind": kind, "host": host, "port": port, "process": process, "modules": modules}
    line = json.dumps(event | {"chain": chain} if chain else event)
    with _lock:
        if line not in _reported:
            _reported.add(line)
            print(line, flush=True)


def route_all_to_loopback() -> None:
    """Do `ip route add local default dev lo` for both families; IPv6 may be disabled."""
    loopback = socket.if_nametoindex("lo")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        for sequence, family in enumerate((socket.AF_INET, socket.AF_INET6), 1):
            # rtmsg: family, lengths, tos, table main, protocol static, scope host, type local
            body = struct.pack("=8BI", family, 0, 0, 0, 254, 4, 254, 2, 0)
            body += struct.pack("=HHI", 8, 4, loopback)  # RTA_OIF
            head = struct.pack("=IHHII", 16 + len(body), 24, 0x405, sequence, 0)
            kernel.send(head + body)
            code = struct.unpack_from("=i", kernel.recv(4096), 16)[0]
            if code and family == socket.AF_INET:
                raise OSError(-code, "cannot route to loopback")


def name_host() -> None:
    """Let the container's own name resolve, as it does in a pod.

    Containers that join the network share this container's hostname and its /etc/hosts.
    """
    name = socket.gethostname()
    with open("/etc/hosts", "a+") as hosts:
        hosts.seek(0)
        if name not in hosts.read().split():
            hosts.write(f"127.0.0.1\t{name}\n")


# -- attempts -----------------------------------------------------------------------------------


def find_process(table: str, port: int) -> str:
    """Return the command line of the process with a socket on a local port, or "".

    ``table`` is a file of /proc/net: "tcp" or "udp".
    """
    sockets = set()
    for name in (table, f"{table}6"):
        with suppress(OSError), open(f"/proc/net/{name}") as lines:
            for line in lines:
                columns = line.split()
                if len(columns) > 9 and columns[1].endswith(f":{port:04X}"):
                    sockets.add(f"socket:[{columns[9]}]")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{descriptor}") in sockets:
                        with open(f"/proc/{pid}/cmdline", "rb") as file:
                            argv = file.read().replace(b"\0", b" ")
                        return argv.decode(errors="replace").strip()[:200]
    return ""


def serve_dns() -> None:
    """Fail every DNS query on loopback, and report the name."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, client = server.recvfrom(4096)
        if len(query) < 17:
            continue
        labels, offset = [], 12
        while offset < len(query) and query[offset]:
            labels.append(query[offset + 1 : offset + 1 + query[offset]].decode(errors="replace"))
            offset += query[offset] + 1
        host = ".".join(labels)
        report("dns", host, process=find_process("udp", client[1]))
        # SERVFAIL, the answer of a cluster's DNS that cannot reach its upstream
        server.sendto(query[:2] + b"\x81\x82" + query[4:], client)


def watch_packets() -> None:
    """Report the first packet to each address that is not loopback's own."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    packets.bind(("lo", 0))
    while True:
        frame, info = packets.recvfrom(256)
        if info[2] != 4:  # PACKET_OUTGOING; loopback delivers each packet a second time
            continue
        packet = frame[14:]
        if info[1] == 0x0800 and len(packet) >= 28:
            offset, protocol, family = (packet[0] & 15) * 4, packet[9], socket.AF_INET
            destination, is_loopback = packet[16:20], packet[16] == 127
        elif info[1] == 0x86DD and len(packet) >= 48:
            offset, protocol, family = 40, packet[6], socket.AF_INET6
            destination, is_loopback = packet[24:40], packet[24:40] == bytes(15) + b"\1"
        else:
            continue
        if is_loopback or protocol not in (6, 17) or len(packet) < offset + 8:
            continue
        source_port, port = struct.unpack_from("!HH", packet, offset)
        if protocol == 6 and packet[offset + 13] & 0x12 != 2:  # SYN without ACK
            continue
        process = find_process("tcp" if protocol == 6 else "udp", source_port)
        report("connect", socket.inet_ntop(family, destination), port, process)


def receive_hook_messages() -> None:
    """Report what sitecustomize.py sends from Python programs: it knows the module too."""
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.bind(HOOK_SOCKET)
    while True:
        with suppress(ValueError, TypeError):
            report(**json.loads(inbox.recv(65536)))


# -- the route to the mirror --------------------------------------------------------------------


def copy_stream(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, then end the target."""
    with suppress(OSError):
        while data := source.recv(1 << 18):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def connect_sockets(client: socket.socket, server: socket.socket) -> None:
    """Copy both ways until both ends are closed."""
    back = threading.Thread(target=copy_stream, args=(server, client), daemon=True)
    back.start()
    copy_stream(client, server)
    back.join()
    client.close()
    server.close()


def serve_relay(listener: socket.socket, family: int, target: str | tuple[str, int]) -> None:
    """Relay every connection to the target, and report each."""
    for count in itertools.count(1):
        client, _ = listener.accept()
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            server.connect(target)
        except OSError as error:
            host = target if isinstance(target, str) else f"{target[0]}:{target[1]}"
            report("broken", host, process=str(error))
            client.close()
            continue
        report("relay", "mirror", count)
        threading.Thread(target=connect_sockets, args=(client, server), daemon=True).start()


def main() -> None:
    first, *rest = sys.argv[1:]
    if first == "relay":
        path, address, port = rest
        outer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        outer.bind(path)
        outer.listen(512)
        print("ready", flush=True)
        serve_relay(outer, socket.AF_INET, (address, int(port)))
    route_all_to_loopback()
    name_host()
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
