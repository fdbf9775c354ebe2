"""Random runs of the rules: as many as usual, but no time limit for one, since a busy machine is no bug."""

from hypothesis import settings

settings.register_profile("rules", deadline=None)
settings.load_profile("rules")
