from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import InputError
from mirror.settings import Endpoint, check_dns_label, check_index_url, check_port


def test_environment_uses_the_ipv4_address() -> None:
    endpoint = Endpoint(address=IPv4Address("10.152.183.7"), port=3141)
    url = "http://10.152.183.7:3141/workloads/stable/+simple/"
    assert endpoint.environment() == {
        "PIP_INDEX_URL": url,
        "PIP_TRUSTED_HOST": "10.152.183.7",
        "UV_DEFAULT_INDEX": url,
        "UV_INDEX_URL": url,
    }


@pytest.mark.parametrize(
    "url", ["", "index.example", "ftp://index.example/", "http://", "http://a b/", "http://u:p@h/"]
)
def test_rejects_an_invalid_index_url(url: str) -> None:
    with pytest.raises(InputError):
        check_index_url(url)


def test_returns_a_valid_index_url() -> None:
    assert check_index_url("https://index.example/simple/") == "https://index.example/simple/"


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a" * 64, "a\n", "a b", "$(id)"])
def test_rejects_an_invalid_kubernetes_name(name: str) -> None:
    with pytest.raises(InputError):
        check_dns_label(name, "namespace")


@pytest.mark.parametrize("port", [-1, 0, 80, 1023, 65536])
def test_rejects_ports_that_need_root_or_do_not_exist(port: int) -> None:
    with pytest.raises(InputError):
        check_port(port)


@given(st.text())
def test_checks_accept_or_reject_any_text(text: str) -> None:
    for check in (check_index_url, lambda value: check_dns_label(value, "name")):
        try:
            assert check(text) == text
        except InputError as error:
            assert error.next_step
