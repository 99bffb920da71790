"""`POST /get-online-features`: from the body of a request to the response, as Feast writes it."""
