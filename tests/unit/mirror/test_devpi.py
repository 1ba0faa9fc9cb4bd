from pathlib import PurePath

from mirror import devpi
from mirror.settings import ServerSettings

PATHS = devpi.DevpiPaths(serverdir=PurePath("/data/devpi"), run_dir=PurePath("/run/devpi"))


def test_reads_the_default_upstream_of_devpi() -> None:
    from devpi_server import main

    assert devpi.read_default_upstream() == main._pypi_ixconfig_default["mirror_url"]


def test_devpi_accepts_every_option() -> None:
    """devpi parses them: fails if a new version drops an option."""
    from devpi_server.config import get_parser, parseoptions
    from devpi_server.main import get_pluginmanager

    markers = PurePath("/data/private")
    argv = devpi.build_server_argv("python3", PATHS, ServerSettings(), port=3142, markers=markers)
    assert argv[1:5] == ("-m", "mirror.private_names", "--marks", str(markers))
    manager = get_pluginmanager()
    config = parseoptions(manager, ["devpi-server", *argv[5:]], get_parser(manager))
    assert config.args.host == "127.0.0.1"
    assert config.args.threads == 4
    assert config.args.request_timeout == 60
    assert str(config.args.secretfile) == "/run/devpi/secretfile"


def test_no_secret_is_in_argv() -> None:
    command = " ".join(devpi.build_init_argv("devpi-init", PATHS))
    assert "passw" not in command


def test_private_and_public_packages_of_one_name_never_mix() -> None:
    assert devpi.build_workloads_index_config(None)["bases"] == []
    config = devpi.build_workloads_index_config("root/pypi")
    assert config["mirror_whitelist"] == []
    assert config["volatile"] is False
