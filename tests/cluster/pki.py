"""The certificates and keys of the control plane, made by openssl."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.options import Site
from tests.cluster.process import run

DAYS = "3650"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_pki(site: Site) -> Path:
    """The folder with ca.crt, api.crt, api.key, sa.key and sa.pub (the service accounts')."""
    folder = site.control / "pki"
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "api.crt").exists():
        return folder
    # CoreDNS verifies the service address, kubectl on the machine the router's.
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
    addresses = (site.api_service, site.router, "127.0.0.1")
    sans = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]
    extensions = folder / "api.ext"
    extensions.write_text("subjectAltName=" + ",".join(sans) + "\n")
    curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    _openssl(folder, "genpkey", *curve, "-out", "sa.key")
    _openssl(folder, "pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    ca = ("-keyout", "ca.key", "-out", "ca.crt", "-days", DAYS, "-subj", f"/CN={site.name}-ca")
    _openssl(folder, "req", "-x509", *CURVE, *ca)
    request = ("-keyout", "api.key", "-out", "api.csr", "-subj", "/CN=kube-apiserver")
    _openssl(folder, "req", *CURVE, *request)
    signer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS)
    signed = ("-in", "api.csr", "-extfile", extensions.name, "-out", "api.crt")
    _openssl(folder, "x509", "-req", *signer, *signed)
    return folder


def _openssl(folder: Path, *argv: str) -> None:
    run("openssl", *argv, cwd=folder, timeout=30)
