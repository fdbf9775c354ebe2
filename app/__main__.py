"""Entry point of `python -m app`, the same as `tapwatt`."""

import gc
import signal

from app.cli import main

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the modules load ends it without a traceback
gc.disable()  # modules stay: a garbage collection while they load takes a tenth of a second

gc.freeze()
gc.enable()
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
