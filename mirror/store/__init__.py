"""What runs beside the data."""
