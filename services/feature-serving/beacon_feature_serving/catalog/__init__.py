"""What the registry names: views, keys and columns, and the plan by which a request reads them."""
