"""How many visitors fit into how many descriptors."""

import pytest

from hawse_exitnode import descriptors


@pytest.mark.parametrize(
    ("limit", "visitors"),
    [(1_048_576, 16_384), (18_432, 16_384), (18_431, 16_383), (4_096, 2_048), (1_024, 512), (256, 128)],
)
def test_visitors_get_what_the_rest_leaves_them(limit: int, visitors: int) -> None:
    assert descriptors.visitor_cap(limit) == visitors


def test_the_limit_is_raised_to_the_hard_one_and_too_few_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = [(1_024, 4_096)]
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(descriptors.resource, "setrlimit", lambda _, new: limits.append(new))
    descriptors.raise_limit()
    assert limits[-1] == (4_096, 4_096)
    (record,) = caplog.records
    assert "raise the hard limit" in record.getMessage()
    assert (record.limit, record.visitors, record.wanted) == (4_096, 2_048, 18_432)


def test_a_limit_that_cannot_be_raised_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: int, new: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    unlimited = descriptors.resource.RLIM_INFINITY
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: (65_536, unlimited))
    monkeypatch.setattr(descriptors.resource, "setrlimit", refuse)
    descriptors.raise_limit()
    assert [record.getMessage() for record in caplog.records] == ["cannot raise the limit of open files"]
