"""How far a charge may run on its authorization. Policy, meter readings, Monta's limits, our own stop."""
