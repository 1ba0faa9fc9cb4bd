"""The API itself: a request in, a response out."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import yaml

from tests.kubernetes_api import admission
from tests.kubernetes_api.access import (
    ALL_RIGHTS,
    RequestAttributes,
    Rule,
    User,
    read_role_rules,
    service_account_user,
)
from tests.kubernetes_api.copying import clone
from tests.kubernetes_api.errors import (
    StatusError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    path_not_found,
)
from tests.kubernetes_api.failures import Failures
from tests.kubernetes_api.managed_fields import (
    FieldOwners,
    find_conflicts,
    format_path,
    list_fields,
    merge,
    remove_fields,
)
from tests.kubernetes_api.patching import json_patch, merge_patch
from tests.kubernetes_api.requests import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    ApiRequest,
    ApiResponse,
)
from tests.kubernetes_api.resources import BUILT_IN, ResourceType
from tests.kubernetes_api.selectors import parse_field_selector, parse_label_selector
from tests.kubernetes_api.store import ObjectStore
from tests.kubernetes_api.websocket import PodProgram

VERSION = "v1.34.4"
ADMIN = "admin"

_PATH = re.compile(
    r"(?P<root>/api/v1|/apis/[^/]+/[^/]+)(/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[^/]+)(/(?P<name>[^/]+)(/(?P<subresource>.+))?)?"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_CHANGED = "the object has been modified; please apply your changes to the latest version and "
_CHANGED += "try again"
_NO_PAGE = "404 page not found"
_UNIMPLEMENTED = "the API in memory does not implement this"


class MemoryApi:
    """A Kubernetes API in memory. See the package's docstring."""

    def __init__(self, *extra: ResourceType, version: str = VERSION) -> None:
        self.version = version
        self.requests: list[ApiRequest] = []
        self.failures = Failures()
        self.store = ObjectStore()
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.logs: dict[tuple[str, str, str], str] = {}  # namespace, pod, container
        self.previous_logs: dict[tuple[str, str, str], str] = {}
        self.programs: dict[tuple[str, str], PodProgram] = {}  # namespace, pod
        self.ports: dict[tuple[str, str, int], tuple[str, int]] = {}  # and port → address
        self.after_write: list[Callable[[MemoryApi], None]] = []  # controllers
        self._lock = threading.RLock()
        self._resources = (*BUILT_IN, *extra)
        self._users: dict[str, User] = {}
        self._in_controllers = False
        self.admin = self.add_user(ADMIN, [ALL_RIGHTS])
        for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
            self.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    # -- set-up and inspection ------------------------------------------------------------------

    def add_user(self, name: str, rules: Iterable[Rule] = ()) -> User:
        """Add a user with rules; its token is its name. The list of rules can change later."""
        user = User(name, name, list(rules))
        self._users[user.token] = user
        return user

    def add_service_account(self, namespace: str, name: str) -> User:
        """Add the user of a service account, whose rights are those of the stored Roles."""
        user = User(service_account_user(namespace, name), f"{namespace}-{name}", uses_roles=True)
        self._users[user.token] = user
        return user

    def serve(self, *resources: ResourceType) -> None:
        """Serve more resource types, e.g. those of Calico."""
        self._resources = (*self._resources, *resources)

    def seed(self, *objects: Any) -> Any:
        """Store objects as they are, with their status, outside of requests; return the last one.

        Only what every object has is filled in: defaults, uid, versions.
        """
        stored = None
        with self._lock:
            for given in objects:
                obj = clone(given)
                resource = self.find_resource(obj)
                obj.setdefault("apiVersion", resource.api_version)
                metadata = obj["metadata"]
                old = self.store.get(resource, metadata.get("namespace", ""), metadata["name"])
                self._fill_metadata(resource, obj, old)
                admission.set_defaults(obj, old, self._used_ips())
                stored = self.store.put(resource, obj)
        return stored

    def read(self, kind: str, name: str, namespace: str = "") -> Any:
        """Return a stored object. Raises LookupError if there is none."""
        with self._lock:
            obj = self.store.get(self.find_resource({"kind": kind}), namespace, name)
        if obj is None:
            raise LookupError(f"no {kind} {namespace}/{name}")
        return obj

    def list_objects(self, kind: str, namespace: str = "") -> list[Any]:
        with self._lock:
            return self.store.list(self.find_resource({"kind": kind}), namespace)

    def has(self, kind: str, name: str, namespace: str = "") -> bool:
        return self.store.get(self.find_resource({"kind": kind}), namespace, name) is not None

    def edit(
        self,
        kind: str,
        name: str,
        namespace: str,
        change: Callable[[Any], None],
        *,
        manager: str = "another-client",
    ) -> Any:
        """Change an object as another client does: a function changes it in place."""
        with self._lock:
            obj = self.read(kind, name, namespace)
            change(obj)
            resource = self.find_resource(obj)
            old = self.read(kind, name, namespace)
            self._own_changes(obj, old, (manager, "Update", ""))
            if resource.generation and obj.get("spec") != old.get("spec"):
                obj["metadata"]["generation"] += 1
            return self.store.put(resource, obj)

    def remove(self, kind: str, name: str, namespace: str = "") -> None:
        """Remove an object at once, as if somebody had deleted it."""
        with self._lock:
            self.store.remove(self.find_resource({"kind": kind}), namespace, name)

    def dump(self) -> dict[str, Any]:
        """Return all objects as they are stored, to be compared: Kind/namespace/name → object."""
        return {
            "/".join(
                (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            ): obj
            for obj in self.store.values()
        }

    def list_writes(self, *users: str) -> list[str]:
        """Return method and path of every request that was to change something."""
        return [
            str(request)
            for request in self.requests
            if request.is_write and (not users or request.user in users)
        ]

    def find_resource(self, obj: Mapping[str, Any]) -> ResourceType:
        """Return the type of an object by its kind (KIND or KIND.GROUP) and its apiVersion."""
        kind, _, group = str(obj["kind"]).partition(".")
        wanted = obj.get("apiVersion")
        for resource in self._resources:
            is_kind = resource.kind == kind and group in ("", resource.group)
            if is_kind and wanted in (None, resource.api_version):
                return resource
        raise LookupError(f"the API does not serve {wanted or ''} {obj['kind']}")

    # -- requests -------------------------------------------------------------------------------

    def handle(self, request: ApiRequest) -> ApiResponse:
        """Respond to a request. Raises KilledError if its client is to end here."""
        self.requests.append(request)
        try:
            request.user = self._authenticate(request).name
            self.failures.apply(request, "before")
            with self._lock:
                response = self._respond(request)
                if request.is_write:
                    self._run_controllers()
            self.failures.apply(request, "after")
        except StatusError as error:
            response = ApiResponse(error.status, error.render())
        request.status = response.status
        return response

    def _run_controllers(self) -> None:
        for controller in self.after_write:
            controller(self)

    def _authenticate(self, request: ApiRequest) -> User:
        user = self._users.get(request.token)
        if user is None:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        return user

    def _respond(self, request: ApiRequest) -> ApiResponse:
        match = _PATH.fullmatch(request.path)
        if match is None:
            return self._respond_to_other_path(request)
        # a namespace itself has the form of a collection in a namespace
        plural, namespace = match["plural"], unquote(match["namespace"] or "")
        name, subresource = unquote(match["name"] or ""), match["subresource"] or ""
        group = "" if match["root"] == "/api/v1" else match["root"].split("/")[2]
        asked = RequestAttributes(
            verb=_get_verb(request.method, name),
            group=group,
            resource=f"{plural}/{subresource}" if subresource else plural,
            namespace=namespace,
            name=name,
        )
        if request.path.endswith("/selfsubjectaccessreviews"):
            return self._review_access(request)
        user = self._users[request.token]
        resource = self._find_by_path(match["root"], plural)
        if not self.allows(user, asked):
            raise _refuse(user, asked)
        if not any(each.root == match["root"] for each in self._resources):
            return ApiResponse(404, _NO_PAGE)
        if resource is None or (namespace and not resource.namespaced):
            raise path_not_found()
        if subresource == "log":
            return self._read_log(request, resource, namespace, name)
        if resource.kind == "Pod" and subresource in {"exec", "portforward"}:
            return self._connect(request, resource, namespace, name, subresource)
        if subresource not in ("", "status") or (subresource and not resource.has_status):
            raise path_not_found()
        return self._respond_for_object(request, resource, namespace, name, subresource)

    def _respond_for_object(
        self,
        request: ApiRequest,
        resource: ResourceType,
        namespace: str,
        name: str,
        subresource: str,
    ) -> ApiResponse:
        if "watch" in request.query:
            raise StatusError(501, "NotImplemented", _UNIMPLEMENTED)
        if request.method == "GET":
            if not name:
                return self._list(request, resource, namespace)
            obj = self.store.get(resource, namespace, name)
            if obj is None:
                raise not_found(resource, name)
            return ApiResponse(200, obj)
        if request.method == "POST" and not name:
            return ApiResponse(201, self._create(request, resource, namespace))
        if not name:
            raise StatusError(405, "MethodNotAllowed", _UNIMPLEMENTED)
        match request.method:
            case "PUT":
                return self._replace(request, resource, namespace, name, subresource)
            case "PATCH":
                return self._patch(request, resource, namespace, name, subresource)
            case "DELETE":
                return self._delete(request, resource, namespace, name)
        raise StatusError(405, "MethodNotAllowed", "the server does not allow this method")

    def _find_by_path(self, root: str, plural: str) -> ResourceType | None:
        found = (each for each in self._resources if (each.root, each.plural) == (root, plural))
        return next(found, None)

    # -- rights ---------------------------------------------------------------------------------

    def allows(self, user: User, asked: RequestAttributes) -> bool:
        """Return whether a user may do something."""
        return user.may(asked, self._read_roles(user) if user.uses_roles else ())

    def _read_roles(self, user: User) -> list[Rule]:
        roles = [*self.list_objects("Role"), *self.list_objects("ClusterRole")]
        return [
            rule
            for kind in ("RoleBinding", "ClusterRoleBinding")
            for rule in read_role_rules(user.name, self.list_objects(kind), roles, kind)
        ]

    def _review_access(self, request: ApiRequest) -> ApiResponse:
        attributes = request.body["spec"]["resourceAttributes"]
        resource, subresource = attributes.get("resource", ""), attributes.get("subresource", "")
        asked = RequestAttributes(
            verb=attributes.get("verb", ""),
            group=attributes.get("group", ""),
            resource=f"{resource}/{subresource}" if subresource else resource,
            namespace=attributes.get("namespace", ""),
            name=attributes.get("name", ""),
        )
        is_allowed = self.allows(self._users[request.token], asked)
        return ApiResponse(201, {**request.body, "status": {"allowed": is_allowed}})

    # -- discovery ------------------------------------------------------------------------------

    def _respond_to_other_path(self, request: ApiRequest) -> ApiResponse:
        if request.method != "GET":
            return ApiResponse(404, _NO_PAGE)
        path = request.path.rstrip("/")
        versions = sorted({each.api_version for each in self._resources if each.group})
        roots = {each.root: each.api_version for each in self._resources}
        if path == "/version":
            major, minor, _ = self.version.removeprefix("v").split(".")
            return ApiResponse(200, {"major": major, "minor": minor, "gitVersion": self.version})
        if path in {"/readyz", "/livez", "/healthz"}:
            return ApiResponse(200, "ok")
        if path == "/api":
            return ApiResponse(200, {"kind": "APIVersions", "versions": ["v1"]})
        if path == "/apis":
            groups = [
                {"name": each.split("/")[0], "versions": [{"groupVersion": each}]}
                for each in versions
            ]
            return ApiResponse(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        if path in roots:
            resources = [
                {"name": each.plural, "kind": each.kind, "namespaced": each.namespaced}
                for each in self._resources
                if each.root == path
            ]
            body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": roots[path]}
            return ApiResponse(200, body | {"resources": resources})
        return ApiResponse(404, _NO_PAGE)

    # -- reading --------------------------------------------------------------------------------

    def _list(self, request: ApiRequest, resource: ResourceType, namespace: str) -> ApiResponse:
        tests = (
            parse_label_selector(request.query.get("labelSelector", "")),
            parse_field_selector(request.query.get("fieldSelector", ""), resource),
        )
        items = [
            obj for obj in self.store.list(resource, namespace) if all(test(obj) for test in tests)
        ]
        if not resource.custom:  # the items of built-in types do not say what they are
            items = [_without_type(obj) for obj in items]
        metadata = {"resourceVersion": str(self.store.version)}
        head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        return ApiResponse(200, head | {"metadata": metadata, "items": items})

    def _read_log(
        self, request: ApiRequest, resource: ResourceType, namespace: str, name: str
    ) -> ApiResponse:
        pod = self.store.get(resource, namespace, name) if resource.kind == "Pod" else None
        if pod is None:
            raise not_found(resource, name)
        names = [each["name"] for each in pod["spec"].get("initContainers") or ()]
        names += [each["name"] for each in pod["spec"]["containers"]]
        container = request.query.get("container", "")
        if not container:
            if len(names) > 1:
                message = f"a container name must be specified for pod {name}, choose one of: "
                raise bad_request(f"{message}{names}")
            container = names[0]
        if container not in names:
            raise bad_request(f"container {container} is not valid for pod {name}")
        is_previous = request.query.get("previous") == "true"
        logs = self.previous_logs if is_previous else self.logs
        text = logs.get((namespace, name, container))
        if text is None:
            why = "previous terminated container" if is_previous else "container"
            message = f'{why} "{container}" in pod "{name}" is waiting to start: ContainerCreating'
            raise bad_request(message)
        if lines := request.query.get("tailLines"):
            text = "".join(text.splitlines(keepends=True)[-int(lines) :]) if int(lines) else ""
        if limit := request.query.get("limitBytes"):
            text = text.encode()[: int(limit)].decode(errors="replace")
        return ApiResponse(200, text)

    def _connect(
        self,
        request: ApiRequest,
        resource: ResourceType,
        namespace: str,
        name: str,
        subresource: str,
    ) -> ApiResponse:
        """Return the program or the address that a websocket of a pod leads to."""
        if self.store.get(resource, namespace, name) is None:
            raise not_found(resource, name)
        target: PodProgram | tuple[str, int] | None
        if subresource == "exec":
            target = self.programs.get((namespace, name))
        else:
            target = self.ports.get((namespace, name, int(request.query["ports"])))
        if target is None:
            raise StatusError(500, "InternalError", f"pod {name} does not run")
        return ApiResponse(101, target)

    # -- writing --------------------------------------------------------------------------------

    def _create(self, request: ApiRequest, resource: ResourceType, namespace: str) -> Any:
        obj = self._read_body(request.body, resource, namespace)
        metadata = obj["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        if not metadata.get("name"):
            text = "Required value: name or generateName is required"
            raise invalid(resource, "", ("metadata.name", text))
        if metadata.get("resourceVersion"):
            message = "resourceVersion should not be set on objects to be created"
            raise StatusError(500, "", message)
        return self._store_new(request, resource, obj, "Update")

    def _store_new(
        self, request: ApiRequest, resource: ResourceType, obj: Any, operation: str
    ) -> Any:
        metadata = obj["metadata"]
        if resource.has_status:
            obj.pop("status", None)
        if resource.namespaced:
            space = self.store.get(
                self.find_resource({"kind": "Namespace"}), "", metadata["namespace"]
            )
            admission.require_namespace(resource, obj, space)
        for key in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "managedFields"):
            metadata.pop(key, None)
        owned = clone(obj)
        if resource.kind == "PersistentVolumeClaim":
            admission.set_default_class(obj, self.list_objects("StorageClass"))
        self._fill_metadata(resource, obj, None)
        admission.set_defaults(obj, None, self._used_ips())
        admission.validate(resource, obj, self._used_ips())
        if self.store.get(resource, metadata.get("namespace", ""), metadata["name"]):
            raise already_exists(resource, metadata["name"])
        owner = _get_manager(request), operation, ""
        if operation == "Apply":
            owners = FieldOwners(())
            owners.sets[owner] = set(list_fields(owned))
            metadata["managedFields"] = owners.render(
                resource.api_version, self._timestamp(), FieldOwners(())
            )
        else:
            self._own_changes(obj, {"kind": obj["kind"], "metadata": {}}, owner)
        return self._save(request, resource, obj)

    def _replace(
        self,
        request: ApiRequest,
        resource: ResourceType,
        namespace: str,
        name: str,
        subresource: str,
    ) -> ApiResponse:
        obj = self._read_body(request.body, resource, namespace)
        if obj["metadata"].get("name") != name:
            given = obj["metadata"].get("name", "")
            message = (
                f"the name of the object ({given}) does not match the name on the URL ({name})"
            )
            raise bad_request(message)
        old = self.store.get(resource, namespace, name)
        if old is None:
            if resource.create_on_update:
                if obj["metadata"].get("resourceVersion"):
                    raise conflict(resource, name, _CHANGED)
                return ApiResponse(201, self._store_new(request, resource, obj, "Update"))
            raise not_found(resource, name)
        return ApiResponse(200, self._update(request, resource, obj, old, subresource))

    def _update(
        self, request: ApiRequest, resource: ResourceType, obj: Any, old: Any, subresource: str
    ) -> Any:
        """Store a changed object, after the checks that PUT and PATCH share."""
        metadata, old_metadata = obj["metadata"], old["metadata"]
        name = metadata["name"]
        version = metadata.get("resourceVersion")
        if resource.needs_version and not version:
            text = "Invalid value: 0: must be specified for an update"
            raise invalid(resource, name, ("metadata.resourceVersion", text))
        if version and version != old_metadata["resourceVersion"]:
            raise conflict(resource, name, _CHANGED)
        if metadata.get("uid") and metadata["uid"] != old_metadata["uid"]:
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, "
            raise conflict(resource, name, f"{why}UID in object meta: {old_metadata['uid']}")
        self._keep_system_fields(resource, obj, old, subresource)
        admission.set_defaults(obj, old, self._used_ips())
        admission.validate(resource, obj)
        self._check_change(resource, obj, old)
        self._own_changes(obj, old, (_get_manager(request), "Update", subresource))
        return self._save_change(request, resource, obj, old)

    def _check_change(self, resource: ResourceType, obj: Any, old: Any) -> None:
        admission.validate_change(resource, obj, old)
        if resource.kind == "PersistentVolumeClaim":
            admission.validate_claim_size(resource, obj, old, self.list_objects("StorageClass"))

    def _keep_system_fields(
        self, resource: ResourceType, obj: Any, old: Any, subresource: str
    ) -> None:
        metadata, old_metadata = obj["metadata"], old["metadata"]
        if subresource:
            status = obj.get("status")
            obj.clear()
            obj.update(clone(old))
            obj["status"] = status
            return
        if resource.has_status:
            obj.pop("status", None)
            if "status" in old:
                obj["status"] = clone(old["status"])
        for key in (
            *("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
            *("generation", "managedFields", "namespace"),
        ):
            metadata.pop(key, None)
            if key in old_metadata:
                metadata[key] = clone(old_metadata[key])

    def _save_change(self, request: ApiRequest, resource: ResourceType, obj: Any, old: Any) -> Any:
        """Store an object if it differs; remove it if that was its last finalizer."""
        metadata = obj["metadata"]
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        if obj == old:
            return old
        if resource.generation and obj.get("spec") != old.get("spec"):
            metadata["generation"] = old["metadata"]["generation"] + 1
        if metadata.get("deletionTimestamp") and not _is_held(obj):
            if not request.dry_run:
                self.store.remove(resource, metadata.get("namespace", ""), metadata["name"])
            return obj
        return self._save(request, resource, obj)

    def _save(self, request: ApiRequest, resource: ResourceType, obj: Any) -> Any:
        return obj if request.dry_run else self.store.put(resource, obj)

    def _patch(
        self,
        request: ApiRequest,
        resource: ResourceType,
        namespace: str,
        name: str,
        subresource: str,
    ) -> ApiResponse:
        old = self.store.get(resource, namespace, name)
        if request.content_type == APPLY_PATCH:
            return self._apply(request, resource, namespace, name, old)
        if old is None:
            raise not_found(resource, name)
        match request.content_type:
            case content_type if content_type == JSON_PATCH:
                obj = json_patch(old, request.body)
            case content_type if content_type == MERGE_PATCH:
                obj = merge_patch(old, request.body)
            case _:
                message = f"{_UNIMPLEMENTED}: {request.content_type}"
                raise StatusError(415, "UnsupportedMediaType", message)
        obj = self._read_body(obj, resource, namespace)
        if obj["metadata"].get("name") != name:
            given = obj["metadata"].get("name", "")
            message = (
                f"the name of the object ({given}) does not match the name on the URL ({name})"
            )
            raise bad_request(message)
        return ApiResponse(200, self._update(request, resource, obj, old, subresource))

    def _apply(
        self, request: ApiRequest, resource: ResourceType, namespace: str, name: str, old: Any
    ) -> ApiResponse:
        """Server-side apply."""
        if not request.query.get("fieldManager"):
            text = "Required value: is required for apply patch"
            raise invalid(_PATCH_OPTIONS, "", ("fieldManager", text))
        config = self._read_body(request.body, resource, namespace)
        metadata = config["metadata"]
        if metadata.setdefault("name", name) != name:
            message = f"the name of the object ({metadata['name']}) does not match {name}"
            raise bad_request(message)
        if metadata.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        if old is None:
            if metadata.get("uid"):
                raise conflict(resource, name, "uid mismatch: the provided object specified uid")
            metadata.pop("resourceVersion", None)
            return ApiResponse(201, self._store_new(request, resource, config, "Apply"))
        version = metadata.pop("resourceVersion", None)
        if version and version != old["metadata"]["resourceVersion"]:
            raise conflict(resource, name, _CHANGED)
        if resource.has_status:
            config.pop("status", None)
        key = request.query["fieldManager"], "Apply", ""
        before = FieldOwners(old["metadata"].get("managedFields") or ())
        owners = FieldOwners(old["metadata"].get("managedFields") or ())
        fields, live = list_fields(config), list_fields(old)
        conflicts = find_conflicts(owners, key, live, fields)
        forced = {path for paths in conflicts.values() for path in paths}
        if forced and request.query.get("force") != "true":
            raise _refuse_conflicts(conflicts)
        merged = merge(old, config, kind=resource.kind)
        dropped = owners.sets.get(key, set()) - set(fields)
        remove_fields(merged, dropped, kept=owners.owned_by_others(key))
        owners.forget(forced)
        owners.sets[key] = set(fields)
        merged["metadata"]["managedFields"] = clone(old["metadata"].get("managedFields") or [])
        self._keep_system_fields(resource, merged, old, "")
        admission.set_defaults(merged, old, self._used_ips())
        admission.validate(resource, merged)
        self._check_change(resource, merged, old)
        merged["metadata"]["managedFields"] = owners.render(
            resource.api_version, self._timestamp(), before
        )
        return ApiResponse(200, self._save_change(request, resource, merged, old))

    def _delete(
        self, request: ApiRequest, resource: ResourceType, namespace: str, name: str
    ) -> ApiResponse:
        options = request.body or {}
        obj = self.store.get(resource, namespace, name)
        if obj is None:
            raise not_found(resource, name)
        metadata = obj["metadata"]
        preconditions = options.get("preconditions") or {}
        for key, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            wanted = preconditions.get(key)
            if wanted is not None and wanted != metadata[key]:
                why = f"the {label} in the precondition ({wanted}) does not match the {label} in "
                why += f"record ({metadata[key]}). The object might have been modified"
                raise conflict(resource, name, why)
        grace = _get_grace_seconds(resource, obj, options.get("gracePeriodSeconds"))
        finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(
            options.get("propagationPolicy", "")
        )
        if finalizer and finalizer not in (metadata.get("finalizers") or ()):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), finalizer]
        is_held = _is_held(obj)
        if not is_held and not grace:
            if not request.dry_run:
                self.store.remove(resource, namespace, name)
            details = {"name": name, "group": resource.group, "kind": resource.plural}
            details |= {"uid": metadata["uid"]}
            if resource.kind == "Pod":
                return ApiResponse(200, obj)
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
            return ApiResponse(200, status | {"details": {k: v for k, v in details.items() if v}})
        if not metadata.get("deletionTimestamp"):
            metadata["deletionTimestamp"] = self._timestamp()
            metadata["deletionGracePeriodSeconds"] = grace
            if resource.generation:
                metadata["generation"] += 1
            if resource.kind == "Namespace":
                obj["status"]["phase"] = "Terminating"
            obj = self._save(request, resource, obj)
        return ApiResponse(200, obj)

    # -- parts of an object ---------------------------------------------------------------------

    def _read_body(self, body: Any, resource: ResourceType, namespace: str) -> Any:
        """Return the object of a request, with its type and its namespace."""
        if not isinstance(body, dict):
            raise bad_request("the object provided is unrecognized: it must be a map")
        obj = clone(body)
        given = obj.get("apiVersion"), obj.get("kind")
        if given == (None, None) and not resource.custom:
            obj = {"apiVersion": resource.api_version, "kind": resource.kind} | obj
        elif not given[1]:
            raise bad_request("Object 'Kind' is missing")
        elif given != (resource.api_version, resource.kind):
            message = f"the API version in the data ({given[0]}, {given[1]}) does not match the "
            raise bad_request(f"{message}expected ({resource.api_version}, {resource.kind})")
        metadata = obj.setdefault("metadata", {})
        if resource.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                message = "the namespace of the provided object does not match the namespace sent "
                raise bad_request(f"{message}on the request")
        else:
            metadata.pop("namespace", None)
        return obj

    def _fill_metadata(self, resource: ResourceType, obj: Any, old: Any | None) -> None:
        metadata = obj["metadata"]
        inherited = (old or {}).get("metadata", {})
        metadata.setdefault("uid", inherited.get("uid") or str(uuid.uuid4()))
        metadata.setdefault(
            "creationTimestamp", inherited.get("creationTimestamp") or self._timestamp()
        )
        if resource.generation:
            metadata.setdefault("generation", inherited.get("generation", 0) + 1)

    def _own_changes(self, obj: Any, old: Any, key: tuple[str, str, str]) -> None:
        """Make a manager the owner of the fields that it added or changed."""
        entries = old["metadata"].get("managedFields") or ()
        before, owners = FieldOwners(entries), FieldOwners(entries)
        fields, live = list_fields(obj), list_fields(old)
        if key[2] == "" and "status" in obj:
            fields = {path: value for path, value in fields.items() if path[0] != "f:status"}
            live = {path: value for path, value in live.items() if path[0] != "f:status"}
        changed = {p for p, value in fields.items() if p not in live or live[p] != value}
        owners.forget(set(live) - set(fields))
        if changed:
            owners.take(key, changed)
        api_version = obj.get("apiVersion", "v1")
        rendered = owners.render(api_version, self._timestamp(), before)
        if rendered:
            obj["metadata"]["managedFields"] = rendered

    def _used_ips(self) -> set[str]:
        services = self.store.list(self.find_resource({"kind": "Service"}))
        return {service["spec"].get("clusterIP", "") for service in services}

    def _timestamp(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")


_PATCH_OPTIONS = ResourceType("meta.k8s.io/v1", "patchoptions", "PatchOptions")


def _get_verb(method: str, name: str) -> str:
    if method == "GET":
        return "get" if name else "list"
    return "deletecollection" if method == "DELETE" and not name else _VERBS.get(method, method)


def _refuse(user: User, asked: RequestAttributes) -> StatusError:
    plural = asked.resource.partition("/")[0]
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {asked.verb} resource "{asked.resource}" in API group '
    why += f'"{asked.group}" {where}'
    version = f"{asked.group}/v1" if asked.group else "v1"
    return forbidden(ResourceType(version, plural, ""), asked.name, why)


def _refuse_conflicts(conflicts: Mapping[str, set[tuple[str, ...]]]) -> StatusError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}"',
            "field": format_path(path),
        }
        for manager, paths in conflicts.items()
        for path in sorted(paths)
    ]
    count = f"{len(causes)} conflict" + ("s" if len(causes) > 1 else "")
    message = f"Apply failed with {count}: {causes[0]['message']}: {causes[0]['field']}"
    return StatusError(409, "Conflict", message, {"causes": causes})


def _get_manager(request: ApiRequest) -> str:
    """Return the field manager: by default the first part of the user agent."""
    return request.query.get("fieldManager") or request.user_agent.partition("/")[0] or "unknown"


def _get_grace_seconds(resource: ResourceType, obj: Any, wanted: int | None) -> int:
    """Return the seconds that a pod on a node has to end; 0 for everything else."""
    if resource.kind != "Pod" or not obj["spec"].get("nodeName"):
        return 0
    if (obj.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    default = obj["spec"].get("terminationGracePeriodSeconds", 30)
    return int(default if wanted is None else wanted)


def _is_held(obj: Any) -> bool:
    """Return whether a finalizer keeps a deleted object."""
    if obj["metadata"].get("finalizers"):
        return True
    return obj["kind"] == "Namespace" and bool(obj["spec"].get("finalizers"))


def _without_type(obj: Any) -> Any:
    return {key: value for key, value in obj.items() if key not in {"apiVersion", "kind"}}


def parse_body(text: bytes, content_type: str) -> Any:
    """Return the body of a request. Raises ValueError if it is not what its type says."""
    if not text:
        return None
    if content_type.endswith("yaml"):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
    return json.loads(text)
