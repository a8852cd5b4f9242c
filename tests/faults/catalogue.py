"""All faults that are injected into clones."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults import lost, records, tracking
from tests.faults.table import Fault

FAULTS: Sequence[Fault] = (*records.FAULTS, *tracking.FAULTS, *lost.FAULTS)
