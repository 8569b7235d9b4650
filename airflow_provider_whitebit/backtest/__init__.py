"""Runs a treasury policy for months of virtual time, against the sandbox's own rules."""
