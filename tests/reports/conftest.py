"""A visit, and a report of it."""

from datetime import UTC, datetime

import numpy as np
import pytest
from report_scan import draw

from metseg.reports.lesion_report import LesionReport, Origin
from metseg.reports.matching import Visit


@pytest.fixture
def visit() -> Visit:
    volume, mask = draw()
    return Visit.of_mask("2024-06-02", volume, mask, np.where(mask, np.float32(0.75), 0))


@pytest.fixture
def report(visit: Visit) -> LesionReport:
    origin = Origin("nested_unet", "1", "int8", "LGG set", "Lower-grade glioma, not metastasis.")
    created = datetime(2024, 6, 3, 12, tzinfo=UTC)
    return LesionReport(visit, "case-7", "patient-3", origin, ("Series 4 is taken as t1c.",), created=created)
