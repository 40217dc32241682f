"""The only room that talks to the API server: resources, client, events. The only importer of `kubernetes`."""
