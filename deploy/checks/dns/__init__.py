"""DNS as pods see it: why a name resolves for one program and not for another."""

from __future__ import annotations

from deploy.checks.dns import reachability, search_list, server

CATEGORY = "dns"
RANK = 30  # its position in the report

CHECKS = (
    server.check_service,
    server.check_corefile,
    server.check_forward,
    server.check_answers,
    search_list.check_search_domains,
    search_list.check_search_root,
    reachability.check_names,
    search_list.check_programs,
    reachability.check_ipv6_answers,
    reachability.check_egress,
)
