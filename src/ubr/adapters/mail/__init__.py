"""Mail: templates and delivery. Each module is loaded where it is used."""
