"""The options that fixes declare, literally: `mirror fix` has no other source of them."""

from __future__ import annotations

import click
import pytest

from cli.inputs import check_node_port
from cli.mirror import mirror
from mirror.core.errors import InputError


def test_fix_has_the_options_of_all_fixes() -> None:
    command = mirror.get_command(click.Context(mirror), "fix")
    assert command is not None
    options = {text for parameter in command.params for text in parameter.opts}
    assert options >= {
        "--keep-name",
        "--keep-aaaa",
        "--prefer-udp",
        "--forward",
        "--adopt",
        "--delete",
        "--force-pool",
        "--restart",
        "--restart-system",
    }


@pytest.mark.parametrize("port", ["30000", "32767"])
def test_takes_the_first_and_the_last_node_port(port: str) -> None:
    assert check_node_port(port) == int(port)


@pytest.mark.parametrize("port", ["29999", "32768", "-30000", "3e4", ""])
def test_refuses_other_node_ports(port: str) -> None:
    with pytest.raises(InputError, match="not a node port"):
        check_node_port(port)
