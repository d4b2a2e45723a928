"""How samples leave a time series database."""
