"""Cohort tables, page, methods and database, from the files of one or more output folders and from records.

Nothing is imported here: what a cohort needs takes seconds to load, and an analysis of images needs none of it.
"""
