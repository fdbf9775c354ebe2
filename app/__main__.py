"""Entry point of `python -m app`, the same as `tapwatt`."""

import gc
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the modules load ends it without a traceback
gc.disable()  # modules stay: a garbage collection while they load takes a tenth of a second

from app.cli import main  # noqa: E402  after the lines above, which are about this one

gc.freeze()
gc.enable()
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
