"""One file for each thing that ubr does. A use case's docstring is its text in the API's documentation."""
