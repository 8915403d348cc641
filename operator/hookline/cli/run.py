"""``hookline run``: the operator. Its options are the settings, which ``hookline.settings`` declares and reads."""

from __future__ import annotations

import asyncio
import logging
import os
from argparse import Namespace

from hookline.cli.arguments import Parser
from hookline.errors import HooklineError, SettingsError
from hookline.settings import Settings

log = logging.getLogger(__name__)


def configure(parser: Parser) -> None:
    """One flag for each setting."""
    Settings.declare(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Returns 0 when it was told to stop, else logs why it ended. Raises SettingsError for settings that can't be."""
    from hookline.app import App
    from hookline.observe.logs import capture
    from hookline.observe.logs import configure as configure_logs
    from hookline.observe.shown import masked

    settings = Settings.chosen(options, os.environ)
    configure_logs(settings.log_level, settings.log_format)
    capture()
    for name, nearest in Settings.unknown(os.environ):
        log.warning("%s is no setting and counts for nothing%s", name, f": did you mean {nearest}?" if nearest else "")
    app = App(settings)
    try:
        asyncio.run(app.run())
    except (HooklineError, OSError) as error:
        text = str(error) if isinstance(error, HooklineError) else masked(str(error))
        log.critical("ended: %s", text, extra={"reason": type(error).__name__})
        return 2 if isinstance(error, SettingsError) else 1
    return 0
