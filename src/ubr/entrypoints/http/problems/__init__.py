"""Problems (RFC 9457): the catalogue, the responses, and the pages that explain them."""
