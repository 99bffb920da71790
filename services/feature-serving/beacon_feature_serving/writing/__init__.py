"""The routes that write: push, write-to-online-store, materialize."""
