"""Measurements against what users have without vidssl. See README.md."""
