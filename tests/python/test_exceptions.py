from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from pipeline_core import exceptions
from pipeline_core.exceptions import PipelineError, SettingsError, UnavailableError

KINDS = {
    "SettingsError": "settings",
    "AccessDeniedError": "access",
    "NotFoundError": "not_found",
    "UnavailableError": "unavailable",
    "DataLossError": "data_loss",
    "ConflictError": "conflict",
    "RejectedError": "rejected",
    "CapacityError": "capacity",
    "InternalError": "internal",
}
CLASSES = [member for _, member in inspect.getmembers(exceptions, inspect.isclass) if issubclass(member, PipelineError)]


def test_every_error_has_the_kind_that_the_engine_gives_it():
    kinds = {cls.__name__: cls.kind for cls in CLASSES if cls is not PipelineError}
    assert kinds == KINDS


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_survive_pickling_and_copying(cls, duplicate):
    error = cls("It broke", "Mend it.", True)  # noqa: FBT003 - as the engine constructs it
    twin = duplicate(error)
    assert type(twin) is cls
    assert (twin.message, twin.hint, twin.retryable, twin.kind) == ("It broke", "Mend it.", True, cls.kind)
    assert str(twin) == str(error)


def test_the_text_is_one_sentence_and_the_hint():
    assert str(PipelineError("It broke", "Mend it\n  now.")) == "It broke. Hint: Mend it now."
    assert str(PipelineError("It broke!", "Mend it.")) == "It broke! Hint: Mend it."
    assert str(PipelineError("It broke")) == "It broke"


def test_only_an_unavailable_service_is_retryable_by_default():
    assert [cls for cls in CLASSES if cls("It broke").retryable] == [UnavailableError]


def test_wrong_settings_have_an_exit_code_of_their_own():
    assert {cls.exit_code for cls in CLASSES if cls is not SettingsError} == {1}
    assert SettingsError.exit_code == 2
