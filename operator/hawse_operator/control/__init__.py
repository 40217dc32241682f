"""Control plane between the operator and its exit nodes: desired configuration, enrolment, CA, and the gRPC service.

`hub` is the seam to reconcile (it writes there what exit nodes shall hold and reads there what they answered), `books`
is the seam for what enrolment has to ask of Kubernetes. Nothing here imports `kubernetes` or kopf.
"""
