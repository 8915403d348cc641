"""What the controller's library says at each start though all is well: not in our log, and nothing else is left out."""

from __future__ import annotations

import inspect
import logging

import pytest
from kopf._core.reactor import running

from hookline.controller import listener


def test_the_warning_of_signals_that_kopf_does_not_take_is_left_out_and_no_other(caplog: pytest.LogCaptureFixture):
    assert listener.EXPECTED in inspect.getsource(running)
    logger = logging.getLogger(running.__name__)
    logger.warning(listener.EXPECTED)
    logger.warning("OS signals are ignored: can't add signal handler in Windows.")
    assert [record.getMessage() for record in caplog.records] == [
        "OS signals are ignored: can't add signal handler in Windows."
    ]
