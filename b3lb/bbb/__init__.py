"""The BigBlueButton API: checksums, requests to nodes and their answers."""
