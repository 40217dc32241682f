"""What the demo reads in Kubernetes objects."""

import pytest

from demo import kube


def tunnel(*conditions: dict[str, object], generation: int = 2) -> dict[str, object]:
    return {"metadata": {"generation": generation}, "status": {"conditions": list(conditions)}}


def ready(status: str = "True", **more: object) -> dict[str, object]:
    return {"type": "Ready", "status": status, "reason": "NotReady", "message": "see Reserved", **more}


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        pytest.param(None, False, id="absent"),
        pytest.param(tunnel(), False, id="no-conditions"),
        pytest.param(tunnel(ready()), True, id="true"),
        pytest.param(tunnel(ready("False")), False, id="false"),
        pytest.param(tunnel(ready(observedGeneration=1)), False, id="true-for-an-older-generation"),
        pytest.param(tunnel(ready(observedGeneration=2)), True, id="true-for-this-generation"),
    ],
)
def test_a_condition_holds_for_the_object_as_it_now_is(found: object, holds: bool):
    assert kube.holds(found, "Ready") is holds


def test_what_is_wrong_is_said_in_the_operators_words():
    taken = {"type": "Reserved", "status": "False", "reason": "NameTaken", "message": "team-b has it"}
    assert kube.describe(tunnel(ready("False"), taken)) == "Reserved=False NameTaken: team-b has it"
    assert kube.describe(tunnel(ready("False"))) == "Ready=False NotReady: see Reserved"
    assert kube.describe(None) == "it does not exist"
    assert kube.describe(tunnel()) == "no condition was reported"
