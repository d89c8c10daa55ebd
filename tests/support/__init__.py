"""What the tests stand on: real servers, a faulty network, and the pytest plugin that hands them out."""
