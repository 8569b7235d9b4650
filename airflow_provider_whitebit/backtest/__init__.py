"""A treasury policy on months of virtual time, against the sandbox's own rules."""
