"""The operator: custom resources in, Kubernetes children, IR and status out."""
