"""Create the certificates and keys of the control plane with openssl."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.options import Site
from tests.cluster.process import run

DAYS = "3650"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_pki(site: Site) -> Path:
    """Create ca.crt, api.crt, api.key, and the service accounts' sa.key and sa.pub.

    Returns their folder. Files that exist are kept.
    """
    folder = site.control / "pki"
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "api.crt").exists():
        return folder
    # CoreDNS connects to the service address, kubectl on the machine to the router's.
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
    addresses = (site.api_service, site.router, "127.0.0.1")
    sans = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]
    extensions = folder / "api.ext"
    extensions.write_text("subjectAltName=" + ",".join(sans) + "\n")
    curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    _openssl(folder, "genpkey", *curve, "-out", "sa.key")
    _openssl(folder, "pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    ca_options = (
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
        "-days",
        DAYS,
        "-subj",
        f"/CN={site.name}-ca",
    )
    _openssl(folder, "req", "-x509", *CURVE, *ca_options)
    request = ("-keyout", "api.key", "-out", "api.csr", "-subj", "/CN=kube-apiserver")
    _openssl(folder, "req", *CURVE, *request)
    signer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS)
    files = ("-in", "api.csr", "-extfile", extensions.name, "-out", "api.crt")
    _openssl(folder, "x509", "-req", *signer, *files)
    return folder


def _openssl(folder: Path, *argv: str) -> None:
    run("openssl", *argv, cwd=folder, timeout=30)
