"""What there is in a cluster besides its DNS: rights, Calico, the mirror, workloads. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.cluster.api_resources import API_RESOURCES


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessReview:
    """Whether the user of this context may do something. ``namespace`` None: in all of them.

    ``purpose`` says what cannot be looked at without it.
    """

    verb: str
    resource: str  # plural, with its subresource: pods/log
    namespace: str | None
    allowed: bool
    purpose: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The API server, and what this user may do there. ``seconds``: its first answer took."""

    version: str  # e.g. v1.34.4
    seconds: float
    rights: tuple[AccessReview, ...]


# -- Calico ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class IpPool:
    """A Calico IPPool, as the API of ``kind`` (of KINDS) has it. ``mode``: ipip, vxlan or none."""

    name: str
    cidr: str
    disabled: bool = False
    nat_outgoing: bool = False
    mode: str = "none"
    node_selector: str = ""
    uses: tuple[str, ...] = ()  # Workload, Tunnel; empty: both
    pods: tuple[str, ...] = ()  # NAMESPACE/NAME of those that have its addresses
    kind: str = "IPPool"

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.cidr else 4

    @property
    def resource(self) -> str:
        """For kubectl."""
        return API_RESOURCES[self.kind].qualified_name


@dataclass(frozen=True, slots=True, kw_only=True)
class CalicoNodePod:
    """A pod of calico-node. ``trouble`` says why it is not ready."""

    name: str
    node: str
    ready: bool
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflistSettings:
    """What a CNI configuration says of addresses and of IPv6. ``broken``: why it is no JSON."""

    plugins: tuple[str, ...] = ()  # types, in their order
    assign_ipv4: bool = True  # calico-ipam's own default
    assign_ipv6: bool = False
    tunes_ipv6_off: bool = False  # a chained `tuning` sets disable_ipv6
    broken: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calico:
    """Calico as the API shows it; how it was installed decides where it is configured.

    ``config`` is the conflist's template in ConfigMap calico-config, None where there is none.
    ``env`` are the variables of calico-node that decide on IPv6, as NAME=value, where it runs.
    ``etcd`` are the endpoints of a datastore of its own; empty: it is the Kubernetes API.
    """

    namespace: str
    operator: bool  # an Installation of the Tigera operator owns it
    installed: bool  # the DaemonSet calico-node is there
    image: str = ""
    env: tuple[str, ...] = ()
    felix_ipv6: bool | None = None  # FelixConfiguration default, ipv6Support
    config: str | None = None
    etcd: tuple[str, ...] = ()
    conflist: ConflistSettings | None = None  # what that template says; None where there is none
    pods: tuple[CalicoNodePod, ...] = ()

    def get_env(self, name: str) -> str | None:
        """A variable of calico-node; None where it is not set."""
        pairs = (one.partition("=") for one in self.env)
        return next((value for key, _, value in pairs if key == name), None)


# -- the mirror -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeClaim:
    """The mirror's claim. ``nodes`` are those that its volume is bound to; empty: any."""

    claim: str
    phase: str
    size: str
    storage_class: str
    nodes: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedConfigMap:
    """The environment ConfigMap in a namespace of workloads. ``state``: what it is against ours."""

    namespace: str
    state: str  # right, stale, missing, foreign, no namespace
    url: str = ""  # that it gives


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorState:
    """The mirror by its record and its objects. All empty where there never was one.

    ``promised`` is the address that workloads were given, ``service`` the one that is there now.
    """

    namespace: str
    promised: str = ""
    port: int = 0
    url: str = ""
    service: str = ""
    families: tuple[str, ...] = ()
    wanted: int | None = None  # replicas; None: there is no StatefulSet
    ready: bool = False
    node: str = ""
    image: str = ""
    recorded_image: str = ""
    trouble: tuple[str, ...] = ()
    said: tuple[str, ...] = ()  # last lines of its containers that tell of an error
    volume: VolumeClaim | None = None
    published: tuple[PublishedConfigMap, ...] = ()
    record_trouble: str = ""

    @property
    def ever_existed(self) -> bool:
        """Whether there is, or was, a mirror."""
        return bool(self.promised or self.wanted is not None or self.record_trouble)


# -- workloads ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadContainer:
    """What a container starts, and what decides where it downloads from. Secrets masked.

    ``env`` holds NAME=value of variables that steer uv, pip, models and proxies, no others.
    ``env_maps`` are the ConfigMaps that it takes its environment from.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()  # command and args
    env: tuple[str, ...] = ()
    env_maps: tuple[str, ...] = ()
    init: bool = False

    def get_env(self, name: str) -> str | None:
        pairs = (one.partition("=") for one in self.env)
        return next((value for key, _, value in pairs if key == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPod:
    """One pod. ``heard`` are the lines of its logs that tell of downloads, secrets masked."""

    name: str
    node: str
    phase: str
    ready: bool
    restarts: int = 0
    trouble: str = ""  # CrashLoopBackOff, Error, …
    heard: tuple[str, ...] = ()

    @property
    def is_failing(self) -> bool:
        return (
            self.phase == "Failed" or bool(self.trouble) or (self.restarts > 0 and not self.ready)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Pods of one owner (or one without), by the first of them.

    ``proof`` is what its pods say of a proved image, empty where they say nothing; ``disproved``:
    the image that runs is another than the one they name.
    """

    kind: str
    namespace: str
    name: str
    containers: tuple[WorkloadContainer, ...]
    pods: tuple[WorkloadPod, ...]
    ndots: int | None = None  # by dnsConfig
    host_network: bool = False
    proof: str = ""
    disproved: bool = False

    @property
    def is_proved(self) -> bool:
        """Whether its image was proved to start with no network."""
        return bool(self.proof) and not self.disproved

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.kind.lower()}/{self.name}"

    @property
    def log_lines(self) -> tuple[str, ...]:
        """Lines of all its pods, each once."""
        return tuple(dict.fromkeys(line for pod in self.pods for line in pod.heard))


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningEvents:
    """Warning events of one reason and message, together."""

    kind: str
    namespace: str
    names: tuple[str, ...]
    reason: str
    message: str
    nodes: tuple[str, ...] = ()
    last: str = ""  # UTC, ISO 8601


# -- the fixes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """A target that is not as a fix left it."""

    target: str
    state: str  # drifted, partial, unknown
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilerState:
    """The keeper that `mirror fix --keep` left in the cluster; ``trouble`` says why it is down."""

    running: bool
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixStatus:
    """A fix that was made, and how it stands; ``again`` is the command that brings it back."""

    fix: str
    state: str  # applied, drifted, partial, unknown
    again: str = ""
    unlike: tuple[TargetStatus, ...] = ()
