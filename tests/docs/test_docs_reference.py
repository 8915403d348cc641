"""The generated pages are what the code says, and leave nothing out."""

import copy
import re

import pytest

from docs import conditions, observed, references, schema
from hookline import reasons
from hookline.controller.secrets import ROTATED_FOR
from hookline.deliver.verdict import Reason
from hookline.errors import ExpressionError

AGAIN = "run: make docs"
WORDS = conditions.WORDS
PAGES = {path.stem: path for path in references.generated()}


@pytest.fixture(scope="module")
def stale():
    return {path.stem for path, _ in references.stale()}


@pytest.mark.parametrize("crd", references.crds(), ids=lambda crd: crd["spec"]["names"]["kind"])
def test_every_field_is_in_the_api_reference(crd):
    kind, page = crd["spec"]["names"]["kind"], PAGES["api"].read_text()
    aliases = re.findall(rf'<a id="({kind.lower()}-[^"]+)"></a>[^|]+\|[^|]+\|[^|]* Fields as in ', page)
    told = set(re.findall(r'<a id="([^"]+)"></a>', page))
    missing = [
        path
        for path, _ in schema.paths(crd)
        if (where := schema.anchor(kind, path)) not in told
        and not any(where.startswith(f"{alias}-") for alias in aliases)
        and not where.startswith((f"{kind.lower()}-status-conditions", f"{kind.lower()}-metadata"))
    ]
    assert missing == []


def test_the_api_reference_is_what_the_crds_say(stale):
    assert "api" not in stale, AGAIN


@pytest.mark.parametrize("page", [name for name in PAGES if name != "api"])
def test_the_generated_page_is_current(page, stale):
    assert page not in stale, AGAIN


def test_a_change_of_a_field_changes_its_page():
    (crd, _) = references.crds()
    changed = copy.deepcopy(crd)
    delivery = changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][
        "delivery"
    ]
    delivery["properties"]["timeoutSeconds"]["maximum"] = 31
    assert "integer, 1 to 31<br>default `15`" not in schema.sections(crd)
    assert "integer, 1 to 31<br>default `15`" in schema.sections(changed)


def test_every_condition_and_reason_of_the_code_is_explained_and_no_other():
    words = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    ours = {word for word in words if re.fullmatch(r"[A-Z][A-Za-z]+", word)} - {reasons.KIND}
    told = {
        word
        for kind in conditions.KINDS
        for name, condition in WORDS[kind].items()
        for word in (name, *condition.get("reasons", ()))
    }
    assert told == ours | {ExpressionError("filter", "").reason}


def test_every_reason_of_a_failed_attempt_is_explained_and_no_other():
    assert WORDS["failures"].keys() - {"HTTP503"} == {str(reason) for reason in Reason} - {str(Reason.DELIVERED)}


def test_every_reason_of_a_drop_is_explained_and_no_other():
    assert list(WORDS["drops"]) == list(reasons.DROP_REASONS.values())


def test_every_annotation_of_the_code_is_explained_and_no_other():
    told = {note["name"] for note in WORDS["annotations"]}
    assert told == {reasons.REQUESTED_AT, reasons.ROTATE_KEY, ROTATED_FOR}


def test_every_metric_and_every_alert_has_its_place():
    metrics, alerts = PAGES["metrics"].read_text(), PAGES["alerts"].read_text()
    for family in observed.families():
        assert all(name in metrics for name in observed.series(family))
    assert all(f"## {rule['alert']}\n" in alerts for rule in observed.alerts())
