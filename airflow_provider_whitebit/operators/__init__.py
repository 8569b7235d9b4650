"""Operators: template, call, return. What they do is written in the hook."""
