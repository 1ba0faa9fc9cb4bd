"""Scripts that can only turn IPv6 off, and scripts that look like them."""

from __future__ import annotations

import pytest

from deploy.formats.ipv6_script import only_disables_ipv6

OFF = "net.ipv6.conf.all.disable_ipv6=1"
ENTER = "nsenter -t 1 -m -u -n -i"

HARMLESS = {
    "the runbook's command": [*ENTER.split(), "sysctl", "-w", OFF],
    "sleep": ["sleep", "infinity"],
    "a whole script": [
        "sh",
        "-c",
        f"""
set -e
# turn IPv6 off
{ENTER} sysctl -w {OFF}
nsenter --target 1 --mount --net -- sysctl -w net.ipv6.conf.default.disable_ipv6=1 && \\
{ENTER} -- sh -c 'grep -q disable_ipv6 /etc/sysctl.conf || echo "{OFF}" >> /etc/sysctl.conf'
{ENTER} sh -c "echo net.ipv6.conf.lo.disable_ipv6 = 0 | tee -a /etc/sysctl.conf >/dev/null 2>&1"
sysctl -p >/dev/null 2>&1 || true
echo "IPv6 is off!"
while true; do sleep 3600; done
""",
    ],
    "a loop over links": [
        "/bin/sh",
        "-c",
        "for i in all default lo; do sysctl -w net.ipv6.conf.$i.disable_ipv6=1; done; sleep 9d",
    ],
    "a loop over files": [
        "/bin/sh",
        "-c",
        "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done; tail -f /dev/null",
    ],
    "a loop in a nested script": [
        "sh",
        "-c",
        "nsenter -t 1 -n sh -c 'for i in all lo; do sysctl -w net.ipv6.conf.${i}.disable_ipv6=1; "
        "done'; trap : TERM INT; sleep infinity & wait",
    ],
    "with the host's root mounted": [
        "sh",
        "-ec",
        f"if ! grep -q ipv6 /host/etc/sysctl.conf; then echo '{OFF}' >> /host/etc/sysctl.conf; "
        "fi; chroot /host sysctl -p; exec sleep 2147483647",
    ],
    "lines of its own": [
        "sh",
        "-c",
        f"sed -i '/disable_ipv6/d' /etc/sysctl.conf; echo {OFF} > /etc/sysctl.d/99-no-ipv6.conf",
    ],
}

HARMFUL = [
    "id",
    "sleep 1;id",
    "sleep 1&&id",
    "sleep 1\nid",
    "sleep 1|id",
    "sleep 1&id",
    "sleep 1 # comment\nid",
    "sleep 1#;id",
    "echo '\n# ' ; id ; '\n'",
    "sleep $(id)",
    "sleep `id`",
    "sleep $x",
    "sleep 1 $'\\n' id",
    "f() { id; }; f",
    "(id)",
    "{ echo kernel.core_pattern=x; } >> /etc/sysctl.conf",
    "for i in true; do $i; done",
    f"for i in true reboot; do {ENTER} $i; done",
    f"for i in wait; do {ENTER} -- $i; done",
    "for PATH in x; do sleep 1; done",
    "PATH=/host sleep 1",
    "exec id",
    "eval id",
    ". /etc/x",
    "trap id EXIT",
    "sh",
    'sh -c "$x"',
    "sh -c 'sh -c id'",
    "sh -c 'sleep 1' id -c id",
    "/tmp/sh -c 'sleep 1'",
    "/host/bin/sleep 1",
    "sys\\\nctl x; id",
    ENTER,
    f"{ENTER} -- bash",
    "nsenter -t 2 -m sleep 1",
    "nsenter --mount=/x sleep 1",
    "chroot /host",
    "chroot /host id",
    "chroot /tmp sleep 1",
    "sysctl -w kernel.core_pattern=x",
    "sysctl -w net.ipv6.conf.all.forwarding=1",
    "sysctl -w net.ipv6.conf.all.accept_ra=2",
    "sysctl -p /tmp/x",
    "sysctl -p /etc/sysctl.d/../x-ipv6.conf",
    "echo x > /etc/cron.d/x",
    "echo 1 > $f",
    "echo kernel.core_pattern=x | tee -a /etc/sysctl.conf",
    "echo kernel.core_pattern=x >> /etc/sysctl.conf",
    f"sh -c 'echo {OFF} >> /etc/sysctl.conf'2>&1",
    f"echo '{OFF}\nkernel.core_pattern=x' >> /etc/sysctl.conf",
    f"echo {OFF} > /etc/sysctl.conf",
    f"echo {OFF} > /etc/sysctl.d/10-network-security.conf",
    f"echo {OFF} | tee /etc/sysctl.conf",
    "sed -i '1e id' /etc/sysctl.conf",
    "sed -i '/disable_ipv6/e id' /etc/sysctl.conf",
    "sed -i.bak '/disable_ipv6/d' /etc/sysctl.conf",
    "sed -i '/disable_ipv6/d' /etc/passwd",
    "cat < /etc/x",
    "cat /etc/shadow",
    "sleep 1 > /etc/cron.d/x",
    "'sleep",
]


@pytest.mark.parametrize("name", HARMLESS)
def test_knows_what_turns_ipv6_off(name: str) -> None:
    assert only_disables_ipv6(HARMLESS[name])


@pytest.mark.parametrize("script", HARMFUL)
def test_refuses_what_does_more(script: str) -> None:
    assert not only_disables_ipv6(["sh", "-c", script])


@pytest.mark.parametrize("script", HARMFUL)
def test_refuses_it_in_a_nested_script(script: str) -> None:
    assert not only_disables_ipv6([*ENTER.split(), "--", "sh", "-c", script])


@pytest.mark.parametrize(
    "words", [[], ["sh"], ["sh", "id"], ["$(X)"], ["sleep", "$(X)"], ["sh", "-c", "$(X)"], [""]]
)
def test_refuses_what_is_no_known_command(words: list[str]) -> None:
    assert not only_disables_ipv6(words)
