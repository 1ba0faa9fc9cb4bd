"""The network that pods on one node see, as a model: what DNS answers, and what connects."""

from __future__ import annotations

from dataclasses import dataclass, field

from mirror.probe.model import (
    ConnectionAttempt,
    ConnectionOutcome,
    DnsAnswer,
    LookupOutcome,
    MirrorView,
    NameView,
    PodDns,
    ProgramRun,
    ResolvConf,
    SearchStep,
    SuffixView,
)
from mirror.probe.search_list import AddressAnswers, list_candidates, simulate_resolvers

NOT_FOUND = DnsAnswer(code="NXDOMAIN")
EMPTY = DnsAnswer(code="NOERROR")
INDEX = "index.example"
INDEX_ADDRESS = "192.0.2.80"
TEXTS: dict[LookupOutcome, str] = {
    "connects": "Because mirror-doctor-asks was not found in the package registry",
    "no-address": "failed to lookup address information: Name has no usable address",
    "no-name": "Name does not resolve",
    "try-again": "Try again",
    "unreachable": "Network unreachable (os error 101)",
    "refused": "Connection refused (os error 111)",
    "timeout": "operation timed out",
}


@dataclass
class PodNetwork:
    """DNS and routes of the pods of a node. ``search`` are the domains that the node adds.

    ``known`` maps each name that DNS knows to its addresses; ``answers`` maps a domain to what is
    answered for every other name under it. ``blocked`` maps addresses to how connections end.
    """

    server: str
    search: tuple[str, ...] = ()
    known: dict[str, tuple[str, ...]] = field(default_factory=lambda: {INDEX: (INDEX_ADDRESS,)})
    answers: dict[str, DnsAnswer] = field(default_factory=dict)
    blocked: dict[str, ConnectionOutcome] = field(default_factory=dict)
    ipv6: tuple[str, ...] = ()
    ipv6_route: bool = False
    searches_root: bool = False
    aaaa: DnsAnswer | None = None  # instead of an empty answer to AAAA
    mirror: MirrorView | None = None

    def observe(self, namespace: str, name: str, mirror: str | None) -> PodDns:
        """Return what a probe pod reports that looks up ``name``."""
        search = (f"{namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local")
        conf = ResolvConf(
            nameservers=(self.server,),
            search=(*search, *self.search),
            ndots=5,
            options=("ndots:5",),
            searches_root=self.searches_root,
        )
        return PodDns(
            resolv_conf=conf,
            suffixes=tuple(
                SuffixView(suffix=suffix, expanded=self._ask(suffix), single=self._ask(suffix))
                for suffix in conf.search
            ),
            names=(self._look_up(name, conf),),
            ipv6_addresses=self.ipv6,
            ipv6_default_route=self.ipv6_route,
            seconds=1.0,
            ipv6_disabled=False,
            mirror=(self.mirror or self._reach_mirror(mirror)) if mirror else None,
        )

    def _ask(self, suffix: str) -> DnsAnswer:
        """Return the answer for a made-up name under a domain."""
        matching = [answer for end, answer in self.answers.items() if suffix.endswith(end)]
        return matching[0] if matching else NOT_FOUND

    def _resolve(self, name: str, suffix: str) -> AddressAnswers:
        addresses = self.known.get(name)
        if addresses is None or (not suffix and "" in self.answers):
            return self._ask(suffix), self._ask(suffix)
        ipv4 = tuple(each for each in addresses if ":" not in each)
        ipv6 = tuple(each for each in addresses if ":" in each)
        aaaa = self.aaaa or DnsAnswer(code="NOERROR", addresses=ipv6)
        return DnsAnswer(code="NOERROR", addresses=ipv4), aaaa

    def _look_up(self, name: str, conf: ResolvConf) -> NameView:
        candidates = list_candidates(name, conf)
        pairs = [self._resolve(candidate, suffix) for candidate, suffix in candidates]
        steps = simulate_resolvers(name, conf, pairs)
        own = simulate_resolvers(f"{name}.", conf, pairs[-1:])
        addresses = [*steps[-1].a.addresses, *steps[-1].aaaa.addresses]
        return NameView(
            name=name,
            port=443,
            steps=steps,
            programs=(
                self._run_uv(name, steps),
                self._run_uv(f"{name}.", own),
                _run_glibc(name, steps),
            ),
            connections=tuple(map(self._connect, addresses)),
        )

    def _connect(self, address: str) -> ConnectionAttempt:
        has_route = ":" not in address or self.ipv6_route
        outcome = self.blocked.get(address, "connects" if has_route else "unreachable")
        text = "" if outcome == "connects" else TEXTS[outcome]
        return ConnectionAttempt(address=address, outcome=outcome, text=text)

    def _run_uv(self, asked: str, steps: tuple[SearchStep, ...]) -> ProgramRun:
        found = [step for step in steps if step.musl == "finds"]
        outcome: LookupOutcome
        if found:
            tried = [*found[0].aaaa.addresses, *found[0].a.addresses]
            outcomes = [self._connect(address).outcome for address in tried]
            outcome = "connects" if "connects" in outcomes else outcomes[-1]
        else:
            stopped = next(step for step in steps if step.musl == "stops")
            codes = {stopped.a.code, stopped.aaaa.code}
            outcome = "no-name" if "NXDOMAIN" in codes else "try-again"
            outcome = "no-address" if codes == {"NOERROR"} else outcome
        return ProgramRun(
            program="uv 0.13.9", libc="musl", asked=asked, outcome=outcome, text=TEXTS[outcome]
        )

    def _reach_mirror(self, mirror: str) -> MirrorView:
        attempt = self._connect(mirror.partition(":")[0])
        return MirrorView(
            connection=attempt,
            http=200 if attempt.outcome == "connects" else 0,
            text=attempt.text,
            upstream="ok" if attempt.outcome == "connects" else None,
        )


def _run_glibc(name: str, steps: tuple[SearchStep, ...]) -> ProgramRun:
    found = [step for step in steps if step.glibc == "finds"]
    text = " ".join(found[0].a.addresses) if found else "Name or service not known"
    outcome: LookupOutcome = "resolves" if found else "no-name"
    return ProgramRun(program="glibc 2.41", libc="glibc", asked=name, outcome=outcome, text=text)
