"""The fire drill: everything that must work on a bad day, tried in a sandbox on a good one."""
