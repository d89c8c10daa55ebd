"""Test support: real servers, a faulty network, and the pytest plugin that provides them."""
