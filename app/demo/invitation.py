"""What `--keep` prints: where everything is, and lines to try."""

from app.demo.provisioning import Stage


def invitation(stage: Stage) -> str:
    """For a person at a shell; the keys are good until Ctrl-C."""
    tapwatt, monta = stage.api_url, stage.monta_url
    return f"""
Everything still runs, on the demo's fast clock, until Ctrl-C.

  API         {tapwatt}/v1          pages: {tapwatt}/docs
  metrics     {tapwatt}/metrics     health: {tapwatt}/health/ready
  simulator   {monta}   (client id {stage.client_id}, secret {stage.client_secret})

A card is tapped at charge point 106, and what becomes of it:

  TERMINAL_KEY={stage.terminal_key}
  curl -sw '\\n' {tapwatt}/v1/payment-sessions -H "Authorization: Bearer $TERMINAL_KEY" \\
    -H 'Content-Type: application/json' -d \\
    '{{"charge_point_id":"106","authorization":{{"reference":"MINE-1","amount":4000,"currency":"EUR"}}}}'
  curl -sw '\\n' "{tapwatt}/v1/payment-sessions?reference=MINE-1" -H "Authorization: Bearer $TERMINAL_KEY"

The same as operations see it:

  OPS_KEY={stage.ops_key}
  curl -sw '\\n' {tapwatt}/v1/ops/payment-sessions -H "Authorization: Bearer $OPS_KEY"
  curl -sw '\\n' {tapwatt}/v1/ops/summary -H "Authorization: Bearer $OPS_KEY"
"""
