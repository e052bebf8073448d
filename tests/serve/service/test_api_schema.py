"""What the OpenAPI document promises is what the service does, tried with requests drawn from it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from running_service import BRIGHT_CORNER, as_tiff, running, write_models
from schemathesis import GenerationMode

from metseg.serve.service.api import create_app

TAGS = {"resolutionunit": "CENTIMETER", "resolution": (20, 40), "description": "spacing_mm=5"}
SLICE = as_tiff(BRIGHT_CORNER, photometric="rgb", metadata=None, **TAGS)
schemathesis.openapi.format("binary", st.just(SLICE))  # no schema can say what an image is
SETTINGS = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
READS = ("/models", "/health", "/health/ready", "/metrics")


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    app = create_app(write_models(tmp_path_factory.mktemp("models")))
    with running(app) as client:
        yield schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")


def test_every_operation_is_tried(schema):
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert {(each.method.upper(), each.path) for each in operations} == {
        ("POST", "/predict"),
        ("GET", "/jobs/{job}"),
        *(("GET", path) for path in READS),
    }


@pytest.mark.parametrize("path", READS)
def test_what_is_read_is_as_documented(schema, path):
    assert schema[path]["GET"].Case().call_and_validate().status_code == 200


def test_what_is_no_job_is_refused_as_documented(schema):
    operation = schema["/jobs/{job}"]["GET"]
    for job in ("x", "x" * 32):
        assert operation.Case(path_parameters={"job": job}).call_and_validate().status_code == 404


def test_a_slice_with_valid_settings_is_segmented_as_documented(schema):
    @SETTINGS
    @given(case=schema["/predict"]["POST"].as_strategy())
    def try_one(case):
        assert case.call_and_validate().status_code == 200

    try_one()


def test_a_request_that_breaks_the_schema_is_refused_as_documented(schema):
    codes = set()

    @SETTINGS
    @given(case=_breaking(schema["/predict"]["POST"]))
    def try_one(case):
        codes.add(case.call_and_validate().json().get("code"))

    try_one()
    assert {"invalid_setting", "no_file"} <= codes


@st.composite
def _breaking(draw, operation):
    """Draws a request that breaks the schema."""
    try:
        case = draw(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    except ValueError as error:  # of some draws schemathesis cannot check the type that it has for a file
        assert "'Binary'" in str(error)
        reject()
    assume(not _is_lost(case.body))
    return case


def _is_lost(body) -> bool:
    """Whether a form, which holds texts alone, has no way to say what breaks the schema.

    An empty list stands for a field that is left out; a number in the place of a text is one; 0 and 1 are yes
    and no.
    """
    return isinstance(body, dict) and any(
        value in ([], {}) or name in ("t1", "t1c", "flair") or (type(value) is int and value in (0, 1))
        for name, value in body.items()
    )
