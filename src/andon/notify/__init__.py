"""Telling people: channels, and the outbox that makes sure that they are told."""
