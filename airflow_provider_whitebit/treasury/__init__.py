"""Decides which moves are needed. Pure: what the exchange shows and what is wanted in, moves out."""
