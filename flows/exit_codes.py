"""Exit codes of the command line, a contract with the programs that call it."""

DONE = 0
FAILED = 1
WRONG_USE = 2
INTERRUPTED = 130
