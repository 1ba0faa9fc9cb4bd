"""DNS as pods see it: why a name resolves for one program and not for another."""

from __future__ import annotations

from deploy.checks.dns import reachability, search_list, server
from deploy.evidence.model import Need
from deploy.findings.model import DoctorCheck

CATEGORY = "dns"
RANK = 30  # its position in the report

_PODS = frozenset({Need.POD_DNS})

CHECKS = (
    DoctorCheck(
        id="dns.service",
        fact="the DNS Service has Ready pods",
        needs=frozenset({Need.DNS_SERVICE, Need.DNS_PODS}),
        find=server.check_service,
    ),
    DoctorCheck(
        id="dns.forward",
        fact="CoreDNS forwards questions about names outside the cluster",
        needs=frozenset({Need.COREFILE}),
        find=server.check_forward,
    ),
    DoctorCheck(
        id="dns.answers",
        fact="DNS answers pods on every node",
        needs=_PODS,
        find=server.check_answers,
    ),
    DoctorCheck(
        id="dns.search-domains",
        fact="no search domain answers for names that do not exist",
        needs=_PODS,
        find=search_list.check_search_domains,
    ),
    DoctorCheck(
        id="dns.names",
        fact="the index's name has an IPv4 address",
        needs=_PODS,
        find=reachability.check_names,
    ),
    DoctorCheck(
        id="dns.programs",
        fact="musl, glibc and busybox programs resolve the same names",
        needs=_PODS,
        find=search_list.check_programs,
    ),
    DoctorCheck(
        id="dns.ipv6-answers",
        fact="DNS only returns IPv6 addresses that pods can reach",
        needs=_PODS,
        find=reachability.check_ipv6_answers,
    ),
    DoctorCheck(
        id="dns.egress",
        fact="pods reach the index over IPv4",
        needs=_PODS,
        find=reachability.check_egress,
    ),
)
