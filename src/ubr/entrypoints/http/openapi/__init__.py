"""The OpenAPI 3.1 document, made from the operations that the routes declare and the types they speak in."""
