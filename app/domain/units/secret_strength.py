"""Recognizes secret keys that can be guessed. Too short, repeated, counted up, or made of words."""

import re
from itertools import pairwise

MIN_CHARS = 32
MIN_DIFFERENT_CHARS = 8
"""32 random hexadecimal digits have fewer with a probability below one in a million."""
_WORD = re.compile(r"[A-Z]?[a-z]{1,14}|[A-Z]{2,14}")


def weakness(secret: str) -> str | None:
    """Why a secret is weak, as the end of a sentence; None: it may be random."""
    if len(secret) < MIN_CHARS:
        return f"must have {MIN_CHARS} characters at least"
    if len(set(secret)) < MIN_DIFFERENT_CHARS:
        return "has too few different characters"
    if secret in (secret + secret)[1:-1]:
        return "repeats a shorter text"
    steps = [ord(after) - ord(before) for before, after in pairwise(secret)]
    if sum(step in (-1, 0, 1) for step in steps) > len(steps) * 2 / 3:
        return "counts up or down, or repeats characters"
    if _letters_in_words(secret) > 0.75 * sum(each.isalnum() for each in secret):
        return "is made of words"
    return None


def _letters_in_words(secret: str) -> int:
    """Letters of parts that are written like words, between other characters. Random keys have few such parts."""
    parts = [part for part in re.split(r"[^A-Za-z0-9]+", secret) if _WORD.fullmatch(part)]
    return sum(map(len, parts)) if len(parts) > 2 else 0
