"""What dashboards are told, and what is read back from them."""
