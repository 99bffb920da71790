"""How well intervals hold and how narrow they are, on any tables, beside intervals of one width."""
