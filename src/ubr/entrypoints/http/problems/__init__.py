"""What can go wrong, as RFC 9457 has it: the catalogue, the responses, and the pages that explain it."""
