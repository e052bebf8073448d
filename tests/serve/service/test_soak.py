"""The soak counts what it did, and what is left; how it went in an hour is no matter of a test."""

import nibabel
from running_service import BRIGHT_CORNER, as_png, write_models

from metseg.serve.service.soak import measure_soak, noise_volume


def test_clients_of_all_kinds_leave_nothing(tmp_path):
    told = []
    found = measure_soak(
        write_models(tmp_path),
        seconds=4,
        clients=3,
        slices=[as_png(BRIGHT_CORNER)],
        every=0.2,
        on_second=told.append,
    )
    assert (found["errors"], found["first_error"]) == (0, None)
    # What each of the three clients does first; how much more they do is the machine's matter.
    assert {"slice", "wrong setting", "half an upload"} <= set(found["requests"])
    assert told == sorted(told) and told[-1] < 4
    assert set(found["rss_mb"]) == {"10%", "50%", "100%"} and min(found["rss_mb"].values()) > 10
    # A connection may still be closing; a client that left something would leave hundreds.
    assert found["descriptors"]["after"] < found["descriptors"]["before"] + 10


def test_a_volume_that_the_service_can_read():
    assert {nibabel.Nifti1Image.from_bytes(each).shape for each in noise_volume().values()} == {(48, 48, 12)}
