"""Whose records are whose, and the difference against the zone."""

import pytest

from hawse_operator.dns.ownership import Owner, Rrset, difference, owned_name, owner_name

OWNER = Owner("6b2c", "default")
NAME = "shop.t.example.com"
LUA = Rrset(NAME, "LUA", 20, ('A "x"',))
TXT = Rrset(owner_name(NAME), "TXT", 20, (OWNER.text,))
A = Rrset(NAME, "A", 20, ("192.0.2.1",))


@pytest.mark.parametrize("name", [NAME, "t.example.com", "*.t.example.com", "connect.t.example.com"])
def test_the_owner_record_names_its_name(name: str) -> None:
    assert owned_name(owner_name(name)) == name
    assert owner_name(name) != name


@pytest.mark.parametrize("name", ["shop.t.example.com", "_hawse-owner", "_acme-challenge.t.example.com"])
def test_other_names_are_no_owner_records(name: str) -> None:
    assert owned_name(name) is None


def test_an_empty_zone_gets_the_record_and_its_owner() -> None:
    found = difference([], {NAME: (LUA,)}, OWNER, ttl_s=20)
    assert (found.replace, found.remove, found.foreign) == ((TXT, LUA), (), ())


def test_a_zone_that_is_right_is_not_touched() -> None:
    assert difference([TXT, LUA], {NAME: (LUA,)}, OWNER, ttl_s=20).is_empty


@pytest.mark.parametrize(
    "there", [A, LUA, Rrset(NAME, "AAAA", 60, ("::1",)), Rrset(NAME, "CNAME", 60, ("elsewhere.example.",))]
)
def test_a_foreign_record_is_left_alone_and_named(there: Rrset) -> None:
    found = difference([there], {NAME: (LUA,)}, OWNER, ttl_s=20)
    assert found.is_empty
    assert found.foreign == (NAME,)


@pytest.mark.parametrize("owner", [Owner("other", "default"), Owner("6b2c", "second")], ids=["cluster", "fleet"])
def test_another_clusters_or_fleets_record_is_foreign(owner: Owner) -> None:
    found = difference([TXT, LUA], {NAME: (A,)}, owner, ttl_s=20)
    assert found.is_empty
    assert found.foreign == (NAME,)


def test_records_of_other_types_at_the_name_are_nobodys_business() -> None:
    mail = Rrset(NAME, "MX", 60, ("10 mail.example.",))
    assert difference([mail], {NAME: (LUA,)}, OWNER, ttl_s=20).replace == (TXT, LUA)


def test_a_changed_record_replaces_and_another_type_goes() -> None:
    found = difference([TXT, LUA], {NAME: (A,)}, OWNER, ttl_s=20)
    assert (found.replace, found.remove) == ((A,), (LUA,))


def test_a_record_removed_by_hand_comes_back() -> None:
    assert difference([TXT], {NAME: (LUA,)}, OWNER, ttl_s=20).replace == (LUA,)


def test_what_is_wanted_no_more_goes_with_its_owner_record() -> None:
    found = difference([TXT, LUA], {}, OWNER, ttl_s=20)
    assert (found.replace, set(found.remove)) == ((), {TXT, LUA})


def test_a_name_without_a_known_address_keeps_what_it_has() -> None:
    assert difference([TXT, LUA], {NAME: ()}, OWNER, ttl_s=20).is_empty
