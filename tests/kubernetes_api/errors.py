"""The error responses of an API server, with its wording."""

from __future__ import annotations

from typing import Any

from tests.kubernetes_api.resources import ResourceType


class StatusError(Exception):
    """A response of status 400 or more, whose body is a Status object."""

    def __init__(
        self, status: int, reason: str, message: str, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details or {}

    def render(self) -> dict[str, Any]:
        """Return the Status object."""
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
        status["status"] = "Failure"
        optional = {"reason": self.reason, "details": self.details}
        status |= {"message": self.message, "code": self.status}
        return status | {key: value for key, value in optional.items() if value}


class KilledError(BaseException):
    """The client's process ended at this request: nothing in the client handles it."""


def _details(resource: ResourceType, name: str) -> dict[str, Any]:
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def path_not_found() -> StatusError:
    message = "the server could not find the requested resource"
    return StatusError(404, "NotFound", message)


def not_found(resource: ResourceType, name: str) -> StatusError:
    message = f'{resource.qualified_name} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(resource, name))


def already_exists(resource: ResourceType, name: str) -> StatusError:
    message = f'{resource.qualified_name} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: ResourceType, name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on {resource.qualified_name} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(resource, name))


def forbidden(resource: ResourceType, name: str, why: str) -> StatusError:
    quoted = f' "{name}"' if name else ""
    message = f"{resource.qualified_name}{quoted} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, _details(resource, name))


def invalid(resource: ResourceType, name: str, *causes: tuple[str, str]) -> StatusError:
    """Return a 422 with a cause for each (field, message)."""
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    texts = [f"{field}: {text}" for field, text in causes]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = _details(resource, name) | {
        "kind": resource.kind,
        "causes": [{"field": field, "message": text} for field, text in causes],
    }
    return StatusError(422, "Invalid", f'{kind} "{name}" is invalid: {joined}', details)
