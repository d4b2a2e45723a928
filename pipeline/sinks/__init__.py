"""What we write: the warehouse and the stores."""
