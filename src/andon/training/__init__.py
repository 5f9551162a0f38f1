"""Training and measuring detectors: generated boards, data sets with boxes, average precision."""
