"""Draws a bar of text cells."""

FULL, EMPTY = "█", "░"
EIGHTHS = "▏▎▍▌▋▊▉"
ASCII_FULL, ASCII_EMPTY = "#", "-"


def bar(used: int, authorized: int, width: int, *, ascii_only: bool = False) -> str:
    """Draws `width` cells for used of authorized. Full only when all is used, and never empty once some is."""
    steps = 1 if ascii_only else 8
    filled = 0 if authorized <= 0 else max(0, min(used, authorized)) * width * steps // authorized
    if filled == 0 and used > 0 and authorized > 0 and not ascii_only:
        filled = 1
    whole, part = divmod(filled, steps)
    if ascii_only:
        return ASCII_FULL * whole + ASCII_EMPTY * (width - whole)
    drawn = FULL * whole + (EIGHTHS[part - 1] if part else "")
    return drawn + EMPTY * (width - len(drawn))
