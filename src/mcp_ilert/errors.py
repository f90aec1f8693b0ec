"""One small tree of errors. Each carries a line that an operator or a producer can act on, and never a secret."""


class McpIlertError(Exception):
    """The root: whatever this package raises on purpose."""


class ConfigError(McpIlertError):
    """The configuration cannot be used; exit code 2.

    `problems` holds a readable line for each mistake: key path, value, what was expected.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StartError(McpIlertError):
    """The bridge cannot start or go on (port taken, spool locked, disk unusable); exit code 1."""


class InvalidEventError(McpIlertError):
    """An event that breaks the contract (422); `detail` names the field: `$.priority: expected int, got str`."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MalformedError(McpIlertError):
    """Bytes that are no JSON text of ours at all (400): syntax, UTF-8, surrogates, nesting."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class TooLargeError(McpIlertError):
    """An event above `listen.max_event_bytes` (413 alone, `rejected` within an array)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnavailableError(McpIlertError):
    """Nothing of the request was kept; the producer shall come again (503 with Retry-After)."""

    def __init__(self, detail: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


class RepeatedError(McpIlertError):
    """This very message was taken before, and is not taken again; what came of it then, in events."""

    def __init__(self, accepted: int, rejected: int) -> None:
        super().__init__("this message was taken before")
        self.accepted = accepted
        self.rejected = rejected


class UnknownTargetError(McpIlertError):
    """An operator names a target that there is not (404)."""


class SpoolError(McpIlertError):
    """The spool cannot be read or changed; the line says which file and what to do."""
