"""Users and their rights: rules as in RBAC, and the Roles that are stored in the API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAttributes:
    """What a request does, as an authorizer sees it."""

    verb: str
    group: str
    resource: str  # with the subresource: pods/log
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on resources, separated by spaces; "*" is everything.

    Without ``namespaces`` it applies to the whole cluster, without ``names`` to every name.
    """

    verbs: str
    resources: str
    groups: tuple[str, ...] = ("*",)
    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def matches(self, asked: RequestAttributes) -> bool:
        subresource = asked.resource.partition("/")[2]
        resources = {"*", asked.resource} | ({f"*/{subresource}"} if subresource else set())
        return (
            not {"*", asked.verb}.isdisjoint(self.verbs.split())
            and not resources.isdisjoint(self.resources.split())
            and not {"*", asked.group}.isdisjoint(self.groups)
            and (not self.namespaces or asked.namespace in self.namespaces)
            and (not self.names or asked.name in self.names)
        )


ALL_RIGHTS = Rule("*", "*")


@dataclass(slots=True)
class User:
    """A user with a token. ``withheld`` takes single rights out of ``rules``.

    A service account has no rules of its own: `uses_roles` makes the stored Roles and ClusterRoles
    decide.
    """

    name: str
    token: str
    rules: list[Rule] = field(default_factory=list)
    withheld: list[Rule] = field(default_factory=list)
    uses_roles: bool = False

    def may(self, asked: RequestAttributes, roles: Iterable[Rule]) -> bool:
        granted = [*self.rules, *(roles if self.uses_roles else ())]
        return any(rule.matches(asked) for rule in granted) and not any(
            rule.matches(asked) for rule in self.withheld
        )


def service_account_user(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


def read_role_rules(
    user: str, bindings: Iterable[Any], roles: Iterable[Any], kind: str
) -> list[Rule]:
    """Return the rules that RoleBindings or ClusterRoleBindings (``kind``) give a user."""
    stored = {
        (role["kind"], role["metadata"].get("namespace", ""), role["metadata"]["name"]): role
        for role in roles
    }
    rules = []
    for binding in bindings:
        namespace = binding["metadata"].get("namespace", "") if kind == "RoleBinding" else ""
        if not any(_is_subject(subject, user) for subject in binding.get("subjects") or ()):
            continue
        reference = binding["roleRef"]
        home = namespace if reference["kind"] == "Role" else ""
        role = stored.get((reference["kind"], home, reference["name"]), {})
        rules += [
            Rule(
                " ".join(rule["verbs"]),
                " ".join(rule.get("resources") or ()),
                groups=tuple(rule.get("apiGroups") or ()),
                namespaces=(namespace,) if namespace else (),
                names=tuple(rule.get("resourceNames") or ()),
            )
            for rule in role.get("rules") or ()
        ]
    return rules


def _is_subject(subject: Any, user: str) -> bool:
    if subject["kind"] == "ServiceAccount":
        return user == service_account_user(subject.get("namespace", ""), subject["name"])
    return bool(subject["kind"] == "User" and subject["name"] == user)
