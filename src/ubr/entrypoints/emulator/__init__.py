"""The double as a server, for tests of programs in other languages: `ubr emulate`."""
