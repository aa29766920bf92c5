"""The endpoints: a blueprint for each subject, with a class for each view."""
