"""The OpenAPI 3.1 document, made from the operations of the routes and their types."""
