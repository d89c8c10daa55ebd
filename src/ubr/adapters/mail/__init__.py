"""Mail: templates and delivery. Each module is imported only on use."""
