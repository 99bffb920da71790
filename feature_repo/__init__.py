"""What Feast knows of the product: product.yaml, the definitions built from it, and how to open, apply and fill it."""
