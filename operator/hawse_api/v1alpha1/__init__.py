"""`hawse.dev/v1alpha1`: the custom resources as pydantic models, one kind a file."""
