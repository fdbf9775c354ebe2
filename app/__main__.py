"""Entry point of `python -m app`, the same as `tapwatt`."""

import gc
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the modules load ends it without a traceback
usual = gc.get_threshold()
# Modules stay: looking at them again and again takes a tenth of a second. What each leaves behind is freed at once.
gc.set_threshold(20_000, 1_000)

from app.cli import main  # noqa: E402  after the lines above, which are about this one

gc.freeze()
gc.set_threshold(*usual)
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
