"""The proposal of a product: from a table to a product.yaml and a policy.yaml that load, with reasons."""
