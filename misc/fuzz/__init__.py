"""A coverage-guided fuzzer over what reads the bytes of servers."""
