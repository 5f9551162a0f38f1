"""The starter detector for bare boards: its generator of boards, its network, its training."""
