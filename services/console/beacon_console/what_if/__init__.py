"""The page that asks the model in service about a row that somebody makes up."""
