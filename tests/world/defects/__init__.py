"""Every planted defect, by what it breaks."""

from tests.world.defects import ending, following, keeping, limits, scoping, starting

DEFECTS = (
    *keeping.DEFECTS,
    *starting.DEFECTS,
    *following.DEFECTS,
    *ending.DEFECTS,
    *scoping.DEFECTS,
    *limits.DEFECTS,
)
