"""The domain's rules, pure: no I/O, no SQL, no web framework."""
