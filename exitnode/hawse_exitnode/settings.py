"""Settings of the exit node from its environment (docs/design/0001-contracts.md §2), which is an argument here.

All that is missing or wrong is said at once. Called by `__main__`.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hawse_api import names
from hawse_exitnode.errors import UsageError

Port = int


class Settings(BaseModel):
    """What the pod's environment says. Each field's alias is the name of its variable."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pod_name: str = Field(alias="POD_NAME", min_length=1, max_length=253)
    pod_namespace: str = Field(alias="POD_NAMESPACE", min_length=1, max_length=63)
    pod_ip: str = Field(alias="POD_IP")
    """Everything is bound to it, nothing to 0.0.0.0: several pods share a machine in the embedded cluster."""
    token_file: Path = Field(alias="HAWSE_TOKEN_FILE")
    """Projected ServiceAccount token, audience `hawse`; read anew for each enrolment, the kubelet rotates it."""
    ca_file: Path = Field(alias="HAWSE_CA_FILE")
    """PEM of the internal CA, one or two certificates."""
    state_dir: Path = Field(alias="HAWSE_STATE_DIR")
    """An emptyDir in memory: outlives the container, not the pod."""
    operator_host: str = Field(alias="HAWSE_OPERATOR_SERVICE_HOST", min_length=1)
    """Set by the kubelet for the Service hawse-operator; also works in a cluster without DNS."""
    operator_name: str = Field(alias="HAWSE_OPERATOR_NAME", min_length=1)
    """Name that the operator's certificate must carry: hawse-operator.<namespace>.svc."""
    enrol_port: Port = Field(names.PORT_ENROL, alias="HAWSE_OPERATOR_SERVICE_PORT_ENROL", ge=1, le=65535)
    control_port: Port = Field(names.PORT_CONTROL, alias="HAWSE_OPERATOR_SERVICE_PORT_CONTROL", ge=1, le=65535)
    https_port: Port = Field(names.PORT_HTTPS, alias="HAWSE_HTTPS_PORT", ge=1, le=65535)
    agents_port: Port = Field(names.PORT_AGENTS, alias="HAWSE_AGENTS_PORT", ge=1, le=65535)
    admin_port: Port = Field(names.PORT_ADMIN, alias="HAWSE_ADMIN_PORT", ge=1, le=65535)
    http3: bool = Field(True, alias="HAWSE_HTTP3")
    """Serve HTTP/3 on the UDP port of the same number as https_port."""
    min_drain_s: float = Field(0.0, alias="HAWSE_MIN_DRAIN_SECONDS", ge=0, le=3600)
    """How long everybody is served as before after SIGTERM, while DNS and load balancers turn away."""
    drain_timeout_s: float = Field(30.0, alias="HAWSE_DRAIN_SECONDS", ge=0, le=3600)
    """How long requests in flight may go on after that; both together below the pod's terminationGracePeriod."""

    @field_validator("pod_ip")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(ip_address(value))


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Validate the environment.

    Raises:
        UsageError: naming every variable that is missing or wrong.
    """
    try:
        return Settings.model_validate(dict(environment))
    except ValidationError as exc:
        missing = [str(error["loc"][0]) for error in exc.errors() if error["type"] == "missing"]
        wrong = [f"{error['loc'][0]}: {error['msg']}" for error in exc.errors() if error["type"] != "missing"]
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        raise UsageError(
            f"environment variables of the exit node: {'; '.join(parts + wrong)}. The operator's Deployment sets them; "
            "to run without an operator use: hawse-exitnode static FILE"
        ) from exc
