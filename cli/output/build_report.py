"""Print the report of a built application's image."""

from __future__ import annotations

from collections.abc import Iterator

from cli.output import terminal
from images.proof import Outcome
from images.report import BuildReport

_LISTED = 5  # modules that the report names


def print_build_report(report: BuildReport, delivered: str, commands: tuple[str, ...]) -> None:
    """Print a built image. ``delivered`` is the reference that pods use, "" without a delivery;
    ``commands`` come next."""
    layers = ", ".join(f"{layer.name} {_format_bytes(layer.bytes)}" for layer in report.layers)
    parts = ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items())
    lock = f"{report.lock} {report.lock_sha256[:12]}"
    rows = [
        ("id", report.id),
        ("size", f"{_format_bytes(report.size)}: {layers}"),
        ("packages", f"{len(report.distributions)} from {lock}"),
        ("files", f"{report.files}, sha256 {report.files_sha256}"),
        ("network", f"{report.relayed} connections to the mirror, {report.elsewhere} elsewhere"),
        ("seconds", f"{sum(report.seconds.values()):.1f}: {parts}"),
    ]
    for vendored in report.vendored:
        suffix = " (stand-in)" if vendored.stand_in else ""
        rows.append(("vendored", f"{vendored.name} {vendored.version}{suffix}"))
    rows += [("from sdist", distribution) for distribution in report.built_from_sdist]
    if report.built_with:
        rows.append(("built with", ", ".join(report.built_with)))
    if report.left_out:
        rows.append(("left out", ", ".join(report.left_out)))
    rows += [("not taken", text.removeprefix("not taken from your ")) for text in report.not_taken]
    rows += [("unknown", text) for text in report.unknown]
    rows += _describe_proof(report)
    attempts = [attempt for result in report.proof for attempt in result.attempts]
    if hosts := dict.fromkeys(attempt.host for attempt in attempts):
        rows.append(("", f"it looks up {', '.join(hosts)}, as expected"))
    rows += [
        ("mount", f"{path} at run time: the proof had a copy of {origin}")
        for path, origin in report.mounts.items()
    ]
    if delivered:
        rows.append(("on the nodes", delivered))
    rows += [("next", command) for command in commands]
    terminal.facts(report.reference, rows)


def _describe_proof(report: BuildReport) -> Iterator[tuple[str, str]]:
    """Yield the rows of the proof; only a check that has proved something gets a check mark."""
    for result in report.proof:
        if result.check == "checks" and not result.summary:
            continue  # the recipe has none
        has_proved = result.check != "imports" or result.outcomes
        mark = "!" if result.warnings else "✓" if has_proved else "–"
        reused = " (as before: nothing it depends on has changed)" if result.reused else ""
        yield "proof", f"{mark} {result.summary}{reused}"
        for warning in result.warnings:
            if warning != result.summary:
                yield "", f"  {warning}"
        for outcome in [o for o in result.outcomes if o.outcome is Outcome.LEFT_OUT][:_LISTED]:
            yield "", f"  left out: {outcome.name}: {outcome.detail}"
        if result.check == "starts":
            for outcome in result.outcomes:
                yield "", f"  {outcome.name}: {outcome.outcome}{_describe_hosts(outcome.asked_for)}"
        elif stopped := [o for o in result.outcomes if o.outcome is Outcome.STOPPED]:
            hosts = dict.fromkeys(host for outcome in stopped for host in outcome.asked_for)
            names = ", ".join(outcome.name for outcome in stopped[:_LISTED])
            more = ", …" if len(stopped) > _LISTED else ""
            yield "", f"  stopped at a service: {names}{more}{_describe_hosts(tuple(hosts))}"
    if report.proof_verdict == "incomplete":
        yield "", "the proof is incomplete: the image has its name, and its label says so"
    if not report.proof:
        yield "proof", "none: --no-proof"


def _describe_hosts(hosts: tuple[str, ...]) -> str:
    return f", asked for {', '.join(hosts)}" if hosts else ""


def _format_bytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
