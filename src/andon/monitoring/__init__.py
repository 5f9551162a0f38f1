"""What models did, measured: figures from labelled answers, versions side by side.

Knows the versions and their answers, and changes nothing that serves.
"""
