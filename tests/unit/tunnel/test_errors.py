"""Reports of the core become errors that say what a caller can do."""

import pytest

from hawse_tunnel import errors


@pytest.mark.parametrize(
    ("report", "kind", "text"),
    [
        ("HAWSE-2001 no answer", errors.UnreachableError, "no answer (HAWSE-2001)"),
        ("HAWSE-2002 update one side", errors.VersionError, "update one side (HAWSE-2002)"),
        ("HAWSE-2011 not who it says", errors.UntrustedError, "not who it says (HAWSE-2011)"),
        ("HAWSE-2013 in use", errors.ListenError, "in use (HAWSE-2013)"),
        ("HAWSE-2014 has expired", errors.CertificateError, "has expired (HAWSE-2014)"),
        ("HAWSE-2016 not accepted", errors.CertificateError, "not accepted (HAWSE-2016)"),
        ("HAWSE-2015 stopping", errors.RejectedError, "stopping (HAWSE-2015)"),
        ("HAWSE-9999 from the future", errors.RejectedError, "HAWSE-9999 from the future"),
        ("cannot listen: no such address", errors.RejectedError, "cannot listen: no such address"),
        ("", errors.RejectedError, ""),
    ],
)
def test_a_report_becomes_the_class_of_its_code(report: str, kind: type[errors.TunnelError], text: str) -> None:
    error = errors.from_report(report, errors.RejectedError)
    assert (type(error), str(error)) == (kind, text)


def test_every_way_a_dial_fails_can_be_caught_at_once() -> None:
    classes = [errors.UnreachableError, errors.UntrustedError, errors.VersionError, errors.CertificateError]
    assert all(issubclass(one, errors.DialError) for one in classes)
    assert issubclass(errors.DialError, errors.TunnelError)
