"""Commands about TAPWATT_SECRET_KEY, which encrypts operators' secrets in the database."""

import typer

from app.cli.common import AsJson, fail, print_facts, warn, with_context
from app.flows.admin.rotate_secret_key import rotate_secret_key
from app.settings import load_settings

secret_key_app = typer.Typer(no_args_is_help=True, help="The key that encrypts operators' secrets.")


@secret_key_app.callback()
def _group() -> None:
    """A group, also while it has one command."""


@secret_key_app.command("rotate")
def rotate(as_json: AsJson = False) -> None:
    """Encrypt all secrets anew with TAPWATT_SECRET_KEY; the key before is in TAPWATT_OLD_SECRET_KEYS. Repeatable."""
    done = with_context(load_settings(), rotate_secret_key)
    warn(done.left)
    print_facts(
        as_json,
        key_id=done.key_id,
        evidence_key_id=done.evidence_key_id,
        operators=str(done.operators),
        left=str(len(done.left)),
    )
    if done.left:
        fail(
            "Some operators keep secrets under an older key. Set these secrets again (`tapwatt operator set"
            " --client-secret-file`, `tapwatt operator change-webhook-secret --at-once`), then run this command again;"
            " keep TAPWATT_OLD_SECRET_KEYS until it says that none is left."
        )
