"""Serves the console's CSS, JavaScript and icon. Under names that change with their contents."""

import hashlib
from pathlib import Path

from fastapi import Request, Response

from app.domain.units.frozen import frozen

STATIC = Path(__file__).parent.parent / "static"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FOR_A_YEAR = "public, max-age=31536000, immutable"
HASH_CHARS = 16


@frozen
class Asset:
    """One file, read at the start. `address` is its name with a hash of its contents."""

    address: str
    body: bytes
    media_type: str
    etag: str


def _read(file: Path) -> Asset:
    body = file.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:HASH_CHARS]
    return Asset(f"{file.stem}-{digest}{file.suffix}", body, MEDIA_TYPES[file.suffix], f'"{digest}"')


ASSETS = {file.name: _read(file) for file in sorted(STATIC.iterdir()) if file.suffix in MEDIA_TYPES}
"""By the file's own name."""
_BY_ADDRESS = {asset.address: asset for asset in ASSETS.values()}


def address_of(name: str) -> str:
    """The path of an asset, for a template."""
    return f"/console/static/{ASSETS[name].address}"


def asset_response(request: Request, address: str) -> Response | None:
    """The asset at an address, 304 when the browser has it. None: there is no such asset."""
    asset = _BY_ADDRESS.get(address)
    if asset is None:
        return None
    headers = {"Cache-Control": FOR_A_YEAR, "ETag": asset.etag}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)
