"""The documentation; `docs.generate` makes the pages that follow from the code."""
