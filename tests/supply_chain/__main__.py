"""`python3 run.py audit` and `python3 run.py sbom`."""

import sys

from tests.postgres import ROOT
from tests.supply_chain.audit import LOCKS, audit
from tests.supply_chain.sbom import bill_of_materials, written

match sys.argv[1:]:
    case ["audit"]:
        sys.exit(max(audit(ROOT / lock) for lock in LOCKS))
    case ["audit", "--osv-url", url]:
        sys.exit(max(audit(ROOT / lock, osv_url=url) for lock in LOCKS))
    case ["sbom"]:
        sys.stdout.write(written(bill_of_materials(ROOT / LOCKS[0])))
    case _:
        sys.exit("usage: python3 run.py audit [--osv-url URL] | python3 run.py sbom > tapwatt.cdx.json")
