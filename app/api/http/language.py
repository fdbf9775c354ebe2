"""Reads which language a call wants its texts for the driver in."""

from typing import Annotated

from fastapi import Depends, Header, Request

from app.api.display import language_of


def requested_language(request: Request) -> str:
    return language_of(request.headers.get("accept-language"))


async def _language(
    accept_language: Annotated[
        str | None, Header(description="the driver's language, for `display`", examples=["da"])
    ] = None,
) -> str:
    return language_of(accept_language)


LanguageHere = Annotated[str, Depends(_language)]
