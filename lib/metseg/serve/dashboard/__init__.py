"""The dashboard: `state` knows, `view` shows, `voila_server` serves."""
