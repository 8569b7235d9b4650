"""Sensors: tasks that wait for something to be true on the exchange."""
