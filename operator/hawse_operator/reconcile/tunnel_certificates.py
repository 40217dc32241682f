"""A Tunnel's own certificate: read from its namespace, given to exit nodes for its host name alone.

Called by reconcile.tunnels.
"""

from hawse_api import names, v1alpha1
from hawse_operator.reconcile.certificates import Certificate, belong_together, names_of, read_named
from hawse_operator.reconcile.context import Context
from hawse_operator.translate import tunnels as translate

Condition, Reason = names.Condition, names.Reason


async def read(context: Context, tunnel: v1alpha1.Tunnel, hostname: str | None) -> Certificate | None:
    """The certificate that a Tunnel names; None: it names none."""
    if tunnel.spec.tls is None:
        return None
    found = await read_named(context, tunnel.namespace, tunnel.spec.tls.certificate_ref.name)
    if found.problem or hostname is None:
        return found
    where = f'Secret "{found.secret_name}" in namespace {tunnel.namespace}'
    if not covers(names_of(found.chain_pem), hostname):
        return Certificate(found.secret_name, problem=f"{where}: the certificate does not name {hostname}.")
    if not belong_together(found.chain_pem, found.key_pem):
        return Certificate(found.secret_name, problem=f"{where}: tls.key is not the key of tls.crt.")
    return found


def publish(context: Context, fleet: str, uid: str, certificate: Certificate | None) -> None:
    """Give it to exit nodes, or take it away. One that has become unreadable leaves the last good one in place."""
    id_ = translate.certificate_id(uid)
    if certificate is None:
        context.hub.retract(fleet, f"material/{id_}")
    elif not certificate.problem:
        context.hub.put_certificate(fleet, id_, certificate.chain_pem, certificate.key_pem)


def judge(certificate: Certificate) -> v1alpha1.Judgement:
    """CertificateReady of a Tunnel that names one."""
    if not certificate.problem:
        return v1alpha1.judge(Condition.CERTIFICATE_READY, True, Reason.ISSUED)
    return v1alpha1.judge(Condition.CERTIFICATE_READY, False, Reason.CERTIFICATE_NOT_FOUND, certificate.problem)


def judge_missing(hostname: str) -> v1alpha1.Judgement:
    """CertificateReady of a Tunnel that should name one and does not."""
    message = (
        f"The fleet's certificate does not name {hostname}. Put one into a Secret of type "
        "kubernetes.io/tls in this namespace and name it in spec.tls.certificateRef."
    )
    return v1alpha1.judge(Condition.CERTIFICATE_READY, False, Reason.CERTIFICATE_NOT_FOUND, message)


def covers(certified: frozenset[str], hostname: str) -> bool:
    """Whether names of a certificate cover a host name; a wildcard stands for one label (RFC 9525, 6.3)."""
    parent = hostname.partition(".")[2]
    return hostname in certified or f"*.{parent}" in certified
