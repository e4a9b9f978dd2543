"""Hostile inputs for every reader of ours: campaigns that mutate valid files, and a sandbox that judges the answers."""
