"""Requests and messages of warm runs, as commands and workers of other versions write them."""

from __future__ import annotations

import gzip
import json

from mirror.core.codec import dump
from mirror.lock import PinnedDistribution, parse_requirements
from mirror.warm.request import (
    MissingDistribution,
    RequestedRelease,
    WarmProgress,
    WarmReport,
    WarmRequest,
    build_warm_request,
    parse_latest_progress,
)
from mirror.wheels import TargetEnvironment

TARGET = TargetEnvironment(pythons=("3.12",), machines=("x86_64",))
SHA256 = "a" * 64


def test_builds_a_request_from_pins() -> None:
    lock = parse_requirements(
        f"Numpy==2.1 --hash=sha256:{SHA256}\nwindows-only==1 ; sys_platform == 'win32'\n"
        "lib @ git+https://git.example/lib\nmodel @ https://files.example/model-1.tar.gz\n-e .\n"
    )
    request, missing = build_warm_request([*lock.pins, lock.pins[0]], TARGET)
    assert request.releases == (
        RequestedRelease(name="numpy", specifier="==2.1", hashes=(SHA256,)),
    )
    assert [miss.name for miss in missing] == ["lib", "model"]
    assert missing[0].why == "comes from git, not from an index: build it and `mirror add` it"


def test_a_request_survives_serialization_and_has_a_stable_digest() -> None:
    pins = [PinnedDistribution(name="numpy", specifier="==2.1", hashes=(f"sha256:{SHA256}",))]
    request, _ = build_warm_request(pins, TARGET)
    assert WarmRequest.from_bytes(request.to_bytes()) == request
    assert json.loads(gzip.decompress(request.to_bytes())) == {
        "wanted": [{"name": "numpy", "specifier": "==2.1", "hashes": [SHA256]}],
        "target": {"pythons": ["3.12"], "machines": ["x86_64"], "musl": False},
    }, "workers of version 0.1.0 read these keys"
    assert len(request.digest) == 10
    assert build_warm_request(pins, TARGET)[0].digest == request.digest


def test_parses_the_latest_message_of_a_log() -> None:
    first = WarmProgress(step="pages", done=1, total=2, text="numpy")
    second = WarmProgress(step="files", done=2, total=2, text="3 of 3 MB", left=0.5)
    report = WarmReport(
        projects=1,
        files=1,
        size=3,
        misses=(MissingDistribution(name="lib", why="gone"),),
        seconds=1.5,
    )
    lines = [json.dumps(dump(first)), json.dumps(dump(second)), "Killed", '{"other": 1}']
    assert parse_latest_progress("") is None
    assert parse_latest_progress(lines[0]) == first
    assert parse_latest_progress("\n".join(lines)) == second
    lines.append(json.dumps({"report": dump(report)}))
    assert parse_latest_progress("\n".join(lines)) == report


def test_a_package_is_taken_from_the_upstream_that_its_lock_names() -> None:
    pins = [
        PinnedDistribution(name="tensor", specifier="==1", registry="https://cpu.example/simple"),
        PinnedDistribution(name="lib", specifier="==1", registry="https://gone.example/simple/"),
        PinnedDistribution(name="plain"),
    ]
    upstreams = {"https://cpu.example/simple/": "cpu", "https://a.example/": "default"}
    request, _ = build_warm_request(pins, TARGET, upstreams)
    assert [(r.name, r.upstream) for r in request.releases] == [
        ("tensor", "cpu"),
        ("lib", ""),
        ("plain", ""),
    ]
    assert WarmRequest.from_bytes(request.to_bytes()) == request
    document = json.loads(gzip.decompress(request.to_bytes()))
    assert [release.get("upstream") for release in document["wanted"]] == ["cpu", None, None]
