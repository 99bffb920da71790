"""Sources: the one reader of a product's table, whatever place and format it has."""
