from pathlib import PurePath

from mirror import devpi
from mirror.settings import ServerSettings

PATHS = devpi.DevpiPaths(serverdir=PurePath("/data/devpi"), run_dir=PurePath("/run/devpi"))


def test_the_default_upstream_is_devpis_own() -> None:
    from devpi_server import main

    assert devpi.read_default_upstream() == main._pypi_ixconfig_default["mirror_url"]


def test_devpi_takes_every_option_it_is_given() -> None:
    """Parsed by devpi itself: an option that a new version drops fails here."""
    from devpi_server.config import get_parser, parseoptions
    from devpi_server.main import get_pluginmanager

    marks = PurePath("/data/private")
    argv = devpi.build_server_argv("python3", PATHS, ServerSettings(), port=3142, markers=marks)
    assert argv[1:5] == ("-m", "mirror.private_names", "--marks", str(marks))
    manager = get_pluginmanager()
    config = parseoptions(manager, ["devpi-server", *argv[5:]], get_parser(manager))
    assert config.args.host == "127.0.0.1"
    assert config.args.threads == 4
    assert config.args.request_timeout == 60
    assert str(config.args.secretfile) == "/run/devpi/secretfile"


def test_no_secret_stands_in_argv() -> None:
    words = " ".join(devpi.build_init_argv("devpi-init", PATHS))
    assert "passw" not in words


def test_private_names_never_mix_with_public_ones() -> None:
    assert devpi.build_workloads_index_config(None)["bases"] == []
    config = devpi.build_workloads_index_config("root/pypi")
    assert config["mirror_whitelist"] == []
    assert config["volatile"] is False
