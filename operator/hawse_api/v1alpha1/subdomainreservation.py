"""SubdomainReservation: the atomic claim on a public name, called like the name; it outlives its Tunnel.

Everything stands in the spec, so that a restored backup keeps it. Only the operator and the platform team write it;
a tenant's claim is a Tunnel.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from hawse_api.v1alpha1.meta import DnsLabel, ObjectName, Resource, ResourceStatus, Time, Uid
from hawse_api.v1alpha1.schema import Column, Definition, Int64, Model, Rule, Scope, condition_columns
from hawse_api.v1alpha1.tunnel import ReclaimPolicy


class ClaimRef(Model):
    """The Tunnel that holds the name, or held it last."""

    namespace: DnsLabel
    """Its namespace."""
    namespace_uid: Annotated[Uid, Field(alias="namespaceUID")]
    """UID of that namespace: one that was deleted and made again is another tenant."""
    name: ObjectName
    """Its name."""
    uid: Uid | None = None
    """Its UID."""


class Verification(Model):
    """The proof that a name outside every Fleet's domain belongs to the namespace that claims it."""

    verified_at: Time
    """When the TXT record was last seen; it is looked up again a day later."""
    missed_since: Time | None = None
    """Since when it was not there; after 48 hours the name is not served any more."""


class SubdomainReservationSpec(Model):
    """Who holds the name, since when, and what becomes of it."""

    rules = (
        Rule(
            cel="self.holderGeneration >= oldSelf.holderGeneration",
            message="holderGeneration only grows: cookies of an earlier holder must stay invalid",
        ),
        Rule(
            cel="!has(self.expiresAt) || has(self.releasedAt)",
            message="expiresAt belongs to a released name: set releasedAt too",
            holds=lambda spec: spec.expires_at is None or spec.released_at is not None,
        ),
    )

    claim_ref: ClaimRef
    """The Tunnel that holds the name, or held it last."""
    holder_generation: Annotated[Int64, Field(ge=1)] = 1
    """Counts the namespaces that held the name; a new holder gets new cookie keys."""
    bound_at: Time
    """When the present holder got the name."""
    released_at: Time | None = None
    """When the holder let go of it; absent while it is held."""
    expires_at: Time | None = None
    """Until when a released name is kept for its last holder; then the reservation is deleted."""
    verification: Verification | None = None
    """Of a name outside the Fleets' domains: its proof."""
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.RETAIN
    """What happens at the release. Retain: keep the name for its holder. Delete: free it at once."""

    @property
    def is_released(self) -> bool:
        """Whether nobody holds the name now."""
        return self.released_at is not None


class SubdomainReservationStatus(ResourceStatus):
    """What the operator found."""


class SubdomainReservation(Resource):
    """The atomic claim on a public name; metadata.name is the name itself."""

    definition: ClassVar[Definition] = Definition(
        kind="SubdomainReservation",
        plural="subdomainreservations",
        short="sdr",
        scope=Scope.CLUSTER,
        columns=(
            Column("Namespace", ".spec.claimRef.namespace", description="Who holds the name, or held it last."),
            Column("Tunnel", ".spec.claimRef.name", description="The Tunnel that holds it, or held it last."),
            Column("Bound", '.status.conditions[?(@.type=="Bound")].status', description="Whether it is held now."),
            Column("Generation", ".spec.holderGeneration", "integer", "Counts the holders.", wide=True),
            Column("Expires", ".spec.expiresAt", "string", "Until when a released name is kept.", wide=True),
            *condition_columns(),
        ),
        selectable=(".spec.claimRef.namespace", ".spec.claimRef.name"),
    )

    spec: SubdomainReservationSpec
    status: SubdomainReservationStatus = SubdomainReservationStatus()
