"""`python -m app` is `tapwatt`."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the modules load ends it without a traceback

from app.cli import main  # noqa: E402 - see above

signal.signal(signal.SIGINT, signal.default_int_handler)
main()
