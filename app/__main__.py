"""`python -m app` is `tapwatt`."""

import gc
import signal

from app.cli import main

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the modules load ends it without a traceback
gc.disable()  # modules stay: looking through them for rubbish while they load takes a tenth of a second

gc.freeze()
gc.enable()
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
