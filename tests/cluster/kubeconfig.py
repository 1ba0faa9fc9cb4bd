"""Write kubeconfig files with a user's token."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml


def write_kubeconfig(
    path: Path, *, name: str, server: str, user: str, token: str, authority: Path | None = None
) -> Path:
    """Write a self-contained kubeconfig of mode 0600 with one context called name; return path.

    authority is the file of the CA certificate, which is copied into the kubeconfig. Without it,
    the server's certificate is not verified.
    """
    cluster: dict[str, Any] = {"server": server}
    if authority is None:
        cluster["insecure-skip-tls-verify"] = True
    else:
        encoded = base64.b64encode(authority.read_bytes()).decode()
        cluster["certificate-authority-data"] = encoded
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path


def copy_with_token(source: Path, path: Path, token: str) -> Path:
    """Copy a kubeconfig, with another token for its user; return path."""
    config = yaml.safe_load(source.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path
