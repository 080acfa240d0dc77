"""What can go wrong, as a caller can act on it. The engine raises these classes; it defines none of its own."""

from typing import ClassVar


class PipelineError(Exception):
    """Base of every error of a pipeline.

    Args:
        message: What happened and to what, without secrets.
        hint: What to do next, or None.
        retryable: Whether the same call may succeed later unchanged; None takes the class's usual answer.

    Attributes:
        kind: The class of the error as one stable word, for metrics and logs.
        exit_code: What the `pipeline-core` command exits with.
        retryable: Whether the same call may succeed later unchanged.
        hint: What to do next, or None.
    """

    kind: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1
    is_usually_retryable: ClassVar[bool] = False

    hint: str | None
    retryable: bool

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        retryable: bool | None = None,  # noqa: FBT001 - the engine constructs by position
    ) -> None:
        self.hint = hint
        self.retryable = self.is_usually_retryable if retryable is None else retryable
        # All three are in `args`, so that pickling and copying need nothing more.
        super().__init__(message, hint, self.retryable)

    @property
    def message(self) -> str:
        """What happened, without the hint."""
        return str(self.args[0])

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        end = "" if self.message.endswith((".", "!", "?")) else "."
        return f"{self.message}{end} Hint: {' '.join(self.hint.split())}"


class SettingsError(PipelineError):
    """A setting is missing, unknown or wrong. Nothing was read or written."""

    kind = "settings"
    exit_code = 2


class AccessDeniedError(PipelineError):
    """The broker, the bucket or the file system refused the credentials or the permission."""

    kind = "access"


class NotFoundError(PipelineError):
    """A file, topic or bucket that must exist does not."""

    kind = "not_found"


class UnavailableError(PipelineError):
    """A service could not be reached or did not answer in time, after the engine's own retries."""

    kind = "unavailable"
    is_usually_retryable = True


class DataLossError(PipelineError):
    """Records that were not yet delivered are gone from the source; the pipeline will not skip them in silence."""

    kind = "data_loss"


class ConflictError(PipelineError):
    """The target holds something else than what belongs there, or another worker owns it."""

    kind = "conflict"


class RejectedError(PipelineError):
    """More records were refused than `max_rejected_share` allows; each is in the dead letters with its reason."""

    kind = "rejected"


class CapacityError(PipelineError):
    """The target cannot hold the data: a full disk, a topic that is too small."""

    kind = "capacity"


class InternalError(PipelineError):
    """A bug of ours. Please report it with the message and the log."""

    kind = "internal"
