"""The Kubernetes manifests fit the image, the commands, the settings and the addresses, and have no rights to spare."""

import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from typer.core import TyperGroup as Group
from typer.main import get_command

from app.api.http.server import GRACE_S
from app.cli import every_command
