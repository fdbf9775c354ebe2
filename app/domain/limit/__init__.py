"""How far a charge may run on its authorization: policy, meter readings, Monta's limits, our own stop."""
