"""The agent: from what the detectors say to what is done about it, with people in between."""
