"""A Secret that outlived its AgentToken does not stand in the way of a new AgentToken of that name."""

import pytest

from hawse_operator.manifests import secrets
from hawse_operator.reconcile.agent_tokens import is_of_earlier_token
from support.objects import NOW, token


@pytest.mark.parametrize(
    ("owner", "labels", "earlier"),
    [
        pytest.param({"uid": "uid-before"}, None, True, id="same-name-another-uid"),
        pytest.param({}, None, False, id="this-very-token"),
        pytest.param({"uid": "uid-other", "name": "other"}, None, False, id="another-token"),
        pytest.param({"uid": "uid-before", "kind": "Deployment"}, None, False, id="another-kind"),
        pytest.param({"uid": "uid-before"}, {}, False, id="not-made-by-the-operator"),
    ],
)
def test_only_what_the_operator_made_for_an_earlier_token_of_the_name_is_removed(
    owner: dict[str, str], labels: dict[str, str] | None, earlier: bool
) -> None:
    body = secrets.build_token_secret(token(), text="hwt1.x", issued_at=NOW, reissue="")
    body["metadata"]["ownerReferences"][0] |= owner
    if labels is not None:
        body["metadata"]["labels"] = labels
    assert is_of_earlier_token(token(), body) is earlier
