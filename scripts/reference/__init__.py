"""Sections of documentation pages, each made from the code or from stored figures; see scripts/write_reference.py."""
