"""The metrics of the service, in the text format of Prometheus."""
