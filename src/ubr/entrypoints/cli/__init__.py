"""The command line: how an operator starts, prepares and looks after an installation."""
