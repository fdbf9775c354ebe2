"""What ends the demo early, told in a way that people can act on."""


class DemoFailed(Exception):
    """The text says what went wrong and shows the end of the log that knows more."""
